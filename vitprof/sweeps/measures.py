"""How each of the quantities that models are compared by is had of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.report.quantities import Amount
from vitprof.workload import Workload


@dataclass(frozen=True, slots=True)
class Measured:
    """How a quantity of a model under a workload is had.

    Attributes:
        of: what a model has of it, under a workload and within a budget of bytes, which only
            the largest batch depends on.
        exact: whether it is a whole number that follows from formulas, and is not measured.
    """

    of: Callable[[Model, Workload, int | None], Amount]
    exact: bool = True


def _params(model: Model, workload: Workload, budget: int | None) -> int:
    return model.formula().total(Measure.PARAMS)


def _macs(model: Model, workload: Workload, budget: int | None) -> int:
    return model.formula(workload.batch).total(Measure.MACS)


def _memory(model: Model, workload: Workload, budget: int | None) -> int:
    from vitprof.allocation.step import peak_bytes

    return peak_bytes(model, workload)


def _batch(model: Model, workload: Workload, budget: int | None) -> int:
    from vitprof.allocation.largest_batch import largest_batch

    if budget is None:
        raise SpecError(
            "the largest batch depends on the memory that there is; give --gpu, such as h100, "
            "or --memory, such as 24GiB"
        )
    return largest_batch(model, workload, budget)


def _time(model: Model, workload: Workload, budget: int | None) -> float:
    from vitprof.bench import time_steps
    from vitprof.timing import Protocol

    timings, _ = time_steps({model.name: model}, workload, Protocol(), device=workload.device)
    return timings[model.name].median


MEASURES: Mapping[str, Measured] = {  # by the names of `QUANTITIES`
    "params": Measured(_params),
    "macs": Measured(_macs),
    "memory": Measured(_memory),
    "batch": Measured(_batch),
    "time": Measured(_time, exact=False),
}
