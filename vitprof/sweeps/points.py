"""Points of a sweep: every combination of the values of its axes, on every curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

from vitprof.errors import SpecError, unknown
from vitprof.request.workload import BATCH, Workload
from vitprof.subject import Configurable
from vitprof.sweeps.axis import Axis, Number, read_axis
from vitprof.values.options import Option, Ratio, Whole

Place = dict[str, Number]
MAX_POINTS = 10_000


def options_of(model: Configurable) -> dict[str, Option]:
    """Return every option of a model and its mixer, and `batch`, by name."""
    return {**model.options(), "batch": BATCH}


def read_axes(
    models: Sequence[Configurable], given: Mapping[str, object], *, most: int | None = None
) -> tuple[Axis, ...]:
    """Read the ranges of options that one of the models has.

    Args:
        models: one model per curve.
        given: ranges by option.
        most: maximum number of points on all curves; None for no limit.

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
    """Raise SpecError if the curves have more than `most` points in total."""
    lengths = [len(axis.values) for axis in axes]
    if most is not None and curves * prod(lengths) > most:
        sizes = " × ".join(map(str, [*lengths, curves] if curves > 1 else lengths))
        raise SpecError(
            f"the grid has {sizes} = {curves * prod(lengths):,} points, and --max-points is "
            f"{most:,}; give coarser ranges or a larger --max-points"
        )


def places(axes: Sequence[Axis]) -> Iterator[Place]:
    """Yield every combination of the axes' values; the last axis changes fastest."""
    names = [axis.name for axis in axes]
    for values in product(*(axis.values for axis in axes)):
        yield dict(zip(names, values, strict=True))


def step_at(workload: Workload, place: Mapping[str, Any]) -> Workload:
    """Return the workload with the batch of a place, if the place has one."""
    return replace(workload, batch=place["batch"]) if "batch" in place else workload


def first_defined(specify: Callable[[Place], Configurable], axes: Sequence[Axis]) -> Configurable:
    """Return the model at the first place at which it is defined.

    Args:
        specify: builds the model of a place, or raises SpecError.
        axes: the axes of the sweep.

    Raises:
        SpecError: the model is defined at no place; the error is that of the first place.
    """
    refusal = None
    for place in places(axes):
        try:
            return specify(place)
        except SpecError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal
