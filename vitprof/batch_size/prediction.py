"""The largest batch that fits a budget, predicted without a device: from request to report."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from vitprof.report.prediction import Prediction
from vitprof.version import __version__

if TYPE_CHECKING:
    from vitprof.counters.read import Say
    from vitprof.formulas.model import Model
    from vitprof.workload import Workload


def predict(model: Model, workload: Workload, budget: int, *, say: Say) -> Prediction:
    """Predict the largest batch whose step fits `budget` bytes.

    Args:
        model: what is trained or run.
        workload: how; its batch is not used.
        budget: bytes.
        say: told what is being done.
    """
    from importlib.metadata import version

    from vitprof.modules.largest_batch import largest_batch

    say("tracing a step on tensors without data")
    found = largest_batch(model, workload, budget)
    values = {name: value for name, value in workload.values().items() if name != "batch"}
    return Prediction(
        spec=model.conditions(),
        workload=values,
        versions={
            "vitprof": __version__,
            "python": platform.python_version(),
            "torch": version("torch"),
        },
        budget_bytes=budget,
        batch=found.batch,
        peak_bytes=found.peak_bytes,
        next_peak_bytes=found.next_peak_bytes,
    )
