"""What a model costs by formula: each quantity that models are compared by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vitprof.allocation.largest_batch import largest_batch
from vitprof.allocation.step import peak_bytes
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.request.workload import Workload

# Of a model under a workload, within a budget of bytes, which only the largest batch needs.
Cost = Callable[[Model, Workload, int | None], int]


def _params(model: Model, workload: Workload, budget: int | None) -> int:
    return model.formula().total(Measure.PARAMS)


def _macs(model: Model, workload: Workload, budget: int | None) -> int:
    return model.formula(workload.batch).total(Measure.MACS)


def _memory(model: Model, workload: Workload, budget: int | None) -> int:
    return peak_bytes(model, workload)


def _batch(model: Model, workload: Workload, budget: int | None) -> int:
    if budget is None:
        raise SpecError(
            "the largest batch depends on the memory that there is; give --gpu, such as h100, "
            "or --memory, such as 24GiB"
        )
    return largest_batch(model, workload, budget)


COSTS: Mapping[str, Cost] = {
    "params": _params,
    "macs": _macs,
    "memory": _memory,
    "batch": _batch,
}
