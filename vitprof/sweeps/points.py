"""The points of a sweep: every combination of the values of its axes, on every curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

from vitprof.errors import SpecError, unknown
from vitprof.formulas.model import Model
from vitprof.request.workload import BATCH, Workload
from vitprof.sweeps.axis import Axis, Number, read_axis
from vitprof.values.options import Option, Ratio, Whole

Place = dict[str, Number]
MAX_POINTS = 10_000


def options_of(model: Model) -> dict[str, Option]:
    """Every option that a sweep of this model can be along, and its other ones."""
    return {**model.options(), "batch": BATCH}


def read_axes(
    models: Sequence[Model], given: Mapping[str, object], *, most: int | None = None
) -> tuple[Axis, ...]:
    """Read the ranges of options that one of the models has.

    Args:
        models: one a curve.
        given: ranges by option.
        most: how many points there may be, on all curves; None for any number.

    Raises:
        SpecError: no model has an option of that name, a range cannot be read, or there are
            too many points.
    """
    known = {name: option for model in models for name, option in options_of(model).items()}
    for name in given:
        if name not in known:
            numbers = [name for name in known if isinstance(known[name], (Whole, Ratio))]
            raise unknown("option to sweep named", name, numbers)
    axes = tuple(read_axis(name, values, known[name], most=most) for name, values in given.items())
    check_number(axes, len(models), most)
    return axes


def check_number(axes: Sequence[Axis], curves: int, most: int | None) -> None:
    """Raise SpecError where there are more points than `most`."""
    lengths = [len(axis.values) for axis in axes]
    if most is not None and curves * prod(lengths) > most:
        sizes = " × ".join(map(str, [*lengths, curves] if curves > 1 else lengths))
        raise SpecError(
            f"the grid has {sizes} = {curves * prod(lengths):,} points, and --max-points is "
            f"{most:,}; give coarser ranges, or more points"
        )


def places(axes: Sequence[Axis]) -> Iterator[Place]:
    """Every combination of the axes' values, the last axis first."""
    names = [axis.name for axis in axes]
    for values in product(*(axis.values for axis in axes)):
        yield dict(zip(names, values, strict=True))


def step_at(workload: Workload, place: Mapping[str, Any]) -> Workload:
    """The workload with the batch of a place, if that has one."""
    return replace(workload, batch=place["batch"]) if "batch" in place else workload


def first_defined(specify: Callable[[Place], Model], axes: Sequence[Axis]) -> Model:
    """The model at the first place that there is one at.

    Args:
        specify: makes the model of a place, or raises SpecError.
        axes: the ranges.

    Raises:
        SpecError: there is none anywhere; says why of the first place.
    """
    refusal = None
    for place in places(axes):
        try:
            return specify(place)
        except SpecError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal
