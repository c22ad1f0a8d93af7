"""Models and modules of files of expectations: their titles, and the trees of their counts."""

from __future__ import annotations

from vitprof.captured.subject import CapturedModel
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.model import Model
from vitprof.request.specs import described
from vitprof.request.workload import Workload
from vitprof.subject import Configurable


def tree_of(spec: Configurable, measure: Measure, workload: Workload) -> Layer:
    """Return the tree in which a measure is counted."""
    if measure is Measure.TRAINING:
        from vitprof.allocation.training import training

        return training(spec, workload.batch, checkpoint=workload.checkpoint)
    return spec.tree(measure, workload.batch)


def title_of(spec: Model | CapturedModel) -> str:
    """Return a title made from the options of a model, or from the name of a module."""
    return spec.variant if isinstance(spec, CapturedModel) else described(spec.conditions())
