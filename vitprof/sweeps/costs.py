"""Costs of a model by formula: the quantities by which models are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vitprof.allocation.largest_batch import largest_within
from vitprof.allocation.step import peak_bytes
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.request.budget import Budget
from vitprof.request.workload import Workload

# Cost of a model under a workload; the budget is for the largest batch only.
Cost = Callable[[Model, Workload, Budget | None], int]


def _params(model: Model, workload: Workload, budget: Budget | None) -> int:
    return model.formula().total(Measure.PARAMS)


def _macs(model: Model, workload: Workload, budget: Budget | None) -> int:
    return model.formula(workload.batch).total(Measure.MACS)


def _memory(model: Model, workload: Workload, budget: Budget | None) -> int:
    return peak_bytes(model, workload)


def _batch(model: Model, workload: Workload, budget: Budget | None) -> int:
    if budget is None:
        raise SpecError(
            "the largest batch needs a memory budget; give --gpu, such as h100, "
            "or --memory, such as 24GiB"
        )
    return largest_within(model, workload, budget)


COSTS: Mapping[str, Cost] = {
    "params": _params,
    "macs": _macs,
    "memory": _memory,
    "batch": _batch,
}
