"""What models are compared by: each measure with its name, its unit and how it is had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.workload import Workload

Amount = int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A measure of a model under a workload.

    Attributes:
        name: what it is called by.
        title: what heads a column of it.
        label: what an axis of it is called; its ticks bear the unit.
        exact: whether it is a whole number that follows from formulas, and is not measured.
        of: what a model has of it, under a workload and within a budget of bytes, which only
            the largest batch depends on.
    """

    name: str
    title: str
    label: str
    exact: bool = True
    of: Callable[[Model, Workload, int | None], Amount]


def _params(model: Model, workload: Workload, budget: int | None) -> int:
    return model.formula().total(Measure.PARAMS)


def _macs(model: Model, workload: Workload, budget: int | None) -> int:
    return model.formula(workload.batch).total(Measure.MACS)


def _memory(model: Model, workload: Workload, budget: int | None) -> int:
    from vitprof.eager.step import peak_bytes

    return peak_bytes(model, workload)


def _batch(model: Model, workload: Workload, budget: int | None) -> int:
    from vitprof.eager.largest_batch import largest_batch

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


MEASURES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity(name="params", title="parameters", label="parameters", of=_params),
        Quantity(name="macs", title="MACs", label="MACs of a forward pass", of=_macs),
        Quantity(
            name="memory", title="peak memory", label="peak memory of a training step", of=_memory
        ),
        Quantity(
            name="batch",
            title="largest batch",
            label="largest batch (images)",
            of=_batch,
        ),
        Quantity(name="time", title="time", label="time of a step", exact=False, of=_time),
    )
}
