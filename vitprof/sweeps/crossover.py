"""Crossovers: sizes from which one model is cheaper than another, exactly by formula."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from math import isqrt, lcm
from operator import eq

from vitprof.captured.subject import CapturedModel
from vitprof.errors import SpecError, listing, unknown
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import FusedAttention, Op
from vitprof.formulas.work import Work
from vitprof.request.workload import Workload
from vitprof.subject import Configurable
from vitprof.sweeps.costs import COSTS
from vitprof.sweeps.points import options_of
from vitprof.sweeps.stretches import Stretch, stretches
from vitprof.values.options import Whole, label_of

EXACT = ("params", "macs", "training_macs", "memory")  # measures in which crossovers are found
USUAL = tuple(measure for measure in EXACT if measure != "training_macs")
_BY_ARRAYS = ("params", "macs")  # of them those whose formulas take arrays

# Largest size by default along an option with which costs may fall: each value is tried.
_OTHERWISE = 1_024
_ROUNDED = FusedAttention  # its memory is rounded
# Tokens up to which the memory of a scan, which is followed step by step, is searched by default.
_LONGEST_SCAN = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretches:
    """Sizes at which one model costs less, and more, than another.

    Attributes:
        first: the first size that was compared.
        last: the last size that was compared.
        squares: True if only square numbers were compared, since a model needs a grid.
        step: number whose multiples were compared, since it has to divide the tokens.
        cheaper: sizes at which the model costs strictly less.
        dearer: sizes at which it costs strictly more.
    """

    first: int
    last: int
    squares: bool
    step: int
    cheaper: tuple[Stretch, ...]
    dearer: tuple[Stretch, ...]


def default_option(model: Configurable) -> str:
    """Return the option along which crossovers of this model are searched by default."""
    numbers = {name: one for name, one in options_of(model).items() if isinstance(one, Whole)}
    return next((name for name, one in numbers.items() if one.unit and one.grows), "batch")


def default_end(kind: Whole) -> int:
    """Return the largest size to search along an option by default."""
    return kind.grows or _OTHERWISE


def check_option(models: Sequence[Configurable], option: str) -> Whole:
    """Return the declaration of an option along which crossovers can be searched.

    Raises:
        SpecError: none of the models has the option, or it is not a whole number.
    """
    known = {name: kind for model in models for name, kind in options_of(model).items()}
    kind = known.get(option)
    if isinstance(kind, Whole):
        return kind
    numbers = [name for name in known if isinstance(known[name], Whole)]
    if kind is None:
        raise unknown("option to search along named", option, numbers)
    raise SpecError(
        f"{label_of(option)} is not a whole number; crossovers can be searched along "
        f"{listing(map(label_of, numbers))}"
    )


def find(
    model: Configurable,
    than: Configurable,
    workload: Workload,
    *,
    option: str,
    first: int | None = None,
    last: int | None = None,
    measures: Sequence[str] = USUAL,
) -> dict[str, Stretches]:
    """Find the sizes at which `model` costs less, and more, than another, by measure.

    Args:
        model: the model.
        than: the model that it is compared with.
        workload: how both are trained or run.
        option: a whole-number option of at least one of the two.
        first: the first size; None for the option's minimum.
        last: the last size; None for `default_end`.
        measures: measures to compare, from `EXACT`.

    Raises:
        SpecError: neither model has the option, or both are defined at no size of the range.
    """
    kind = check_option((model, than), option)
    low = kind.minimum if first is None else max(first, kind.minimum)
    high = min(default_end(kind) if last is None else last, kind.maximum)
    tokens = kind.unit == "tokens"
    squares = tokens and any(one.needs_grid for one in (model, than))
    step = lcm(*(one.divisor for one in (model, than))) if tokens else 1
    sizes = _sizes((model, than), option, kind, low, high, squares=squares, step=step)
    search = _search_tokens if tokens and not squares else _search
    alike = model.same_as(than)
    found = {}
    for measure in measures:
        if measure == "memory" and any(isinstance(one, CapturedModel) for one in (model, than)):
            continue  # a trace at each size would take minutes
        near = sizes
        if measure == "memory" and last is None:
            near = _followed(sizes, option, model, than)
        own, other = (_Costs(one, workload, measure, option, kind, near) for one in (model, than))
        some = _that_run(near, own, other)
        found[measure] = Stretches(
            first=some[0],
            last=some[-1],
            squares=squares,
            step=step,
            cheaper=() if alike else tuple(search(own, other, some)),
            dearer=() if alike else tuple(search(other, own, some)),
        )
    return found


def _followed(sizes: Sequence[int], option: str, *models: Configurable) -> Sequence[int]:
    """Return the sizes of which the memory is found in a moment: fewer if a model has a scan."""
    nodes = (node for model in models for node in model.formula().walk(fold=True))
    if not any(isinstance(node.item, Op) and node.item.work is Work.SCAN for node in nodes):
        return sizes

    def tokens(size: int) -> int:
        with suppress(SpecError):
            placed = [model.at({option: size}) for model in models]
            stages = [stage for one in placed if isinstance(one, Model) for stage in one.stages]
            return max(stage.sizes.tokens.value for stage in stages)
        return 0

    return sizes[: bisect_right(sizes, _LONGEST_SCAN, key=tokens)] or sizes


def _that_run(sizes: Sequence[int], *models: _Costs) -> Sequence[int]:
    """Return the sizes, without the first if a model cannot run there, as with a single token.

    Raises:
        SpecError: there is no other size.
    """
    for size in sizes[:1]:
        try:
            for model in models:
                model.at(size)
        except SpecError:
            if len(sizes) == 1:
                raise
            return sizes[1:]
    return sizes


def smoothness(model: Configurable, measure: str) -> int:
    """Return the order up to which differences of a layer's cost grow with the tokens."""
    if measure != "memory":
        return model.smoothness(Measure(measure))
    items = (node.item for node in model.formula().walk(fold=True))
    return 0 if any(isinstance(item, _ROUNDED) for item in items) else 1


class _Costs:
    """Costs of a model along an option, each size evaluated once.

    Attributes:
        growing: order up to which they are known to grow; None if nothing is known.
    """

    def __init__(
        self,
        model: Configurable,
        workload: Workload,
        measure: str,
        option: str,
        kind: Whole,
        sizes: Sequence[int],
    ) -> None:
        self.smooth = smoothness(model, measure)
        self.growing = None if not kind.grows else int(kind.convex and isinstance(sizes, range))
        self.at: Callable[[int], int] = cache(
            lambda size: cost(model, workload, measure, option, size)
        )
        if not self.growing and measure in _BY_ARRAYS and kind.unit != "tokens":
            # Bounds say little of costs that differ by less than they grow, counts are at hand.
            with suppress(SpecError):
                self.at = _counted(model, workload, Measure(measure), option, sizes).__getitem__
        # A square number of tokens has a grid, on which a mixer may have another formula.
        self.scattered = cache(lambda size: _cost(model.scattered(option, size), workload, measure))


def _search(one: _Costs, other: _Costs, sizes: Sequence[int]) -> list[Stretch]:
    return stretches(one.at, other.at, sizes, growing=one.growing)


def _counted(
    model: Configurable, workload: Workload, measure: Measure, option: str, sizes: Sequence[int]
) -> dict[int, int]:
    """Return the count of a model at every size at which it is defined, computed by arrays."""
    from vitprof.sweeps.arrays import counts

    axes: dict[str, object] = {"batch": (workload.batch,)}
    if option in options_of(model):
        axes[option] = tuple(sizes)
    found = counts(model, axes, measure).ravel().tolist()
    return dict(zip(sizes, found if option in axes else found * len(sizes), strict=True))


def _search_tokens(one: _Costs, other: _Costs, sizes: Sequence[int]) -> list[Stretch]:
    """Search equally spaced numbers of tokens without a grid, and the square ones with it."""
    step = sizes[1] - sizes[0] if len(sizes) > 1 else 1
    grids = [size for size in _squares(sizes[0], sizes[-1]) if size in sizes]
    smooth = min(one.smooth, other.smooth)
    anywhere = stretches(one.scattered, other.scattered, sizes, growing=smooth)
    on_grid = stretches(one.at, other.at, grids, growing=one.growing)
    pieces = [piece for stretch in anywhere for piece in _between(stretch, grids, step)]
    for stretch in on_grid:
        pieces += [Stretch(grid, grid) for grid in grids if stretch.first <= grid <= stretch.last]
    joined: list[Stretch] = []
    for piece in sorted(pieces, key=lambda piece: piece.first):
        if joined and joined[-1].last == piece.first - step:
            joined[-1] = Stretch(joined[-1].first, piece.last)
        else:
            joined.append(piece)
    return joined


def _between(stretch: Stretch, grids: Sequence[int], step: int) -> Iterator[Stretch]:
    """Yield the parts of a stretch between the numbers of tokens that have a grid."""
    inside = [grid for grid in grids if stretch.first <= grid <= stretch.last]
    for before, after in pairwise((stretch.first - step, *inside, stretch.last + step)):
        if after - before > step:
            yield Stretch(before + step, after - step)


def cost(model: Configurable, workload: Workload, measure: str, option: str, value: int) -> int:
    """Return the cost of a model at a value of an option, in elements, MACs or bytes.

    Args:
        model: the model.
        workload: how it is trained or run.
        measure: one of `EXACT`.
        option: an option of the model, or `batch`.
        value: the option's value.

    Raises:
        SpecError: the model is not defined at the value.
    """
    step = replace(workload, batch=value) if option == "batch" else workload
    return _cost(model.at({option: value}), step, measure)


def _cost(model: Configurable, workload: Workload, measure: str) -> int:
    amount = COSTS[measure](model, workload, None)
    assert isinstance(amount, int)
    return amount


def _sizes(
    models: Sequence[Configurable],
    option: str,
    kind: Whole,
    low: int,
    high: int,
    *,
    squares: bool,
    step: int,
) -> Sequence[int]:
    """Return the values from `low` to `high` at which all models are defined.

    A mixer without a grid is defined at the multiples of `step` from some number of tokens on,
    which is bisected for.
    """

    def refusal(value: int) -> str:
        try:
            for model in models:
                model.at({option: value})
        except SpecError as error:
            return str(error)
        return ""

    sizes: Sequence[int]
    if kind.unit == "tokens" and not squares:
        tokens = _multiples(step, low, high)
        sizes = tokens[bisect_left(tokens, True, key=lambda size: not refusal(size)) :]
    else:
        from vitprof.sweeps.arrays import defined

        own = [model.values() for model in models if option in model.declared()]
        parts = (values.get(kind.multiple_of, 1) for values in own)
        step = lcm(*(part for part in parts if isinstance(part, int)))
        sizes = _squares(low, high) if squares else _multiples(step, low, high)
        for model in models:
            sizes = defined(model, option, sizes)
        sizes = _as_range(sizes)
    if not sizes:
        names = listing(dict.fromkeys(model.variant for model in models), "and")
        why = f": at {high:,}, {refusal(high)}" if low <= high else ""
        raise SpecError(
            f"there is no size from {label_of(option)} {low:,} to {high:,} at which {names} are "
            f"defined{why}"
        )
    return sizes


def _multiples(step: int, low: int, high: int) -> range:
    return range(-(-low // step) * step, high + 1, step)


def _as_range(sizes: Sequence[int]) -> Sequence[int]:
    """Return sizes as a range if they are equally spaced, else as they are."""
    if isinstance(sizes, range) or len(sizes) < 2:
        return sizes
    evenly = range(sizes[0], sizes[-1] + 1, sizes[1] - sizes[0])
    return evenly if all(map(eq, sizes, evenly)) and len(evenly) == len(sizes) else sizes


def _squares(low: int, high: int) -> list[int]:
    return [side * side for side in range(isqrt(max(low, 1) - 1) + 1, isqrt(high) + 1)]
