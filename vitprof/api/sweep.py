"""What configurations cost over ranges of options: from a request to a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from vitprof.api.timed import Clock, Keep, check_same, conditions_of, timed
from vitprof.errors import SpecError, listing, unknown
from vitprof.formats.drawing.curves import option_of
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.measuring.timing import Protocol
from vitprof.progress import Say, quiet
from vitprof.report.curves import Crossover, Point
from vitprof.report.quantities import QUANTITIES
from vitprof.report.sweep import Sweep
from vitprof.request.gpus import read_budget
from vitprof.request.side_by_side import Candidate, candidates
from vitprof.request.workload import BATCH, Workload, place_of, take_workload
from vitprof.sweeps.axis import Axis, is_range, read_axis
from vitprof.sweeps.costs import COSTS
from vitprof.sweeps.crossover import EXACT, cost, find
from vitprof.sweeps.points import (
    Place,
    check_number,
    first_defined,
    options_of,
    places,
    step_at,
)
from vitprof.sweeps.stretches import Stretch
from vitprof.values.options import Option, Whole, pairs, plain
from vitprof.version import versions

Amounts = dict[str, int | float | None]

_COUNTED = {measure.value: measure for measure in Measure}
_OF_A_STEP = ("memory", "batch", "time")  # what depends on more of the workload than its batch
POINTS = Whole("most points of a grid, on all curves", maximum=10_000_000)
_MOST_STARTS = 8  # of stretches where one is cheaper; of more, the first and the last
_SAYING = {
    "params": "parameters are all, trained or not",
    "macs": "a MAC is one multiply and one add of a contraction in a forward pass",
    "memory": "memory is the most that the tensors of a step hold at once, in bytes, by formula",
    "batch": "the largest batch is the largest whose memory is within the budget",
    "time": "time is the median of a step on this machine, in seconds; at each point",
}


def read_curves(
    found: Sequence[Candidate],
    options: Mapping[str, object],
    ranges: Mapping[str, object],
    *,
    most: int | None = None,
) -> tuple[dict[str, Model], tuple[Axis, ...]]:
    """Read what is to be swept.

    Args:
        found: what is laid side by side, one a curve.
        options: values of the options that are not swept; each mixer takes those it has.
        ranges: what `read_axis` reads, by option of a model, of a mixer, or of `batch`.
        most: how many points there may be; None for any number.

    Returns:
        The models by their labels, each at the first place that it is defined at, and the axes.

    Raises:
        SpecError: there is no such option, a range cannot be read, there are too many points,
            or a model is not defined at any of them.
    """
    if not ranges:
        raise SpecError(
            "nothing is swept; give an option a range, such as --tokens 64:16384:x2, "
            "--dim 64:512:+64 or --heads 2,4,8"
        )
    known: dict[str, Option] = {"batch": BATCH}
    for one in reversed(found):
        known |= {**one.mixer.declared(), **one.model.declared()}
    for name in ranges:
        if name not in known:  # for which `specify` has a sentence
            found[0].specify({name: None})
    axes = tuple(read_axis(name, given, known[name], most=most) for name, given in ranges.items())
    check_number(axes, len(found), most)
    models = {one.label: first_defined(partial(_specified, one, options), axes) for one in found}
    return models, axes


def _specified(candidate: Candidate, options: Mapping[str, object], place: Place) -> Model:
    sizes = {name: value for name, value in place.items() if name != "batch"}
    return candidate.specify({**options, **sizes})


def check_measures(names: Sequence[str], budget: int | None, *, timed: bool) -> tuple[str, ...]:
    """The measures by name, each once, those that are asked for otherwise among them.

    Raises:
        SpecError: there is no such measure, or what it needs is not there.
    """
    named = dict.fromkeys(names)
    for name in named:
        if name not in QUANTITIES:
            raise unknown("measure", name, QUANTITIES)
    if not named:
        raise SpecError(f"nothing is asked for; give --y, of {listing(QUANTITIES)}")
    if "time" in named and not timed:
        raise SpecError("time is measured on this machine; give --measure with it")
    if "batch" in named and budget is None:
        raise SpecError(
            "the largest batch depends on the memory that there is; give --gpu, such as rtx3090, "
            "or --memory, such as 24GiB"
        )
    named |= {"batch": None} if budget is not None else {}
    named |= {"time": None} if timed else {}
    return tuple(named)


def sweep(
    model: str | None = None,
    workload: Workload | None = None,
    *,
    mixer: str | None = None,
    mixers: Iterable[str] | None = None,
    presets: Iterable[str] | None = None,
    measures: Iterable[str] = ("macs", "memory"),
    memory: str | None = None,
    gpu: str | None = None,
    max_points: int | str | None = None,
    measure: bool = False,
    device: str | None = None,
    protocol: Protocol | None = None,
    before: Callable[[Sweep], None] = lambda sweep: None,
    kept: Sweep | None = None,
    keep: Keep = lambda sweep: None,
    say: Say = quiet,
    **options: object,
) -> Sweep:
    """Find what models cost over ranges of options, and from where on which is the cheaper.

    Args:
        model: a name that `vitprof models` lists.
        workload: how they are trained or run; made from the options if it is not given.
        mixer: of the model, or of all presets.
        mixers: names, a curve each.
        presets: names of published configurations, in place of `model` and `mixers`.
        measures: of `params`, `macs`, `memory`, `batch` and, if it is measured, `time`.
        memory: the largest batch is that within so much, such as `24GiB`.
        gpu: the same for a named GPU, such as `h100`.
        max_points: how many points there may be; None for any number.
        measure: take the time of a step at each point, on this machine.
        device: device that the models are on, `cpu`, `cuda` or `cuda:1`, of whose kernels the
            memory is and where the time is taken; None for that of the workload, and for the
            CPU if time is taken.
        protocol: how long to take it.
        before: told the sweep without its points before the first of them; may refuse it.
        kept: an interrupted sweep that is to go on; what it has measured is not measured anew.
        keep: told what there is after each place that has been measured.
        say: told what is being done.
        **options: the workload's, the model's and the mixers' options, where a number may be
            a range, `"64:4096:x2"`, or several, `(64, 100)`; a mixer takes those that it has.

    Returns:
        The sweep; of one that is interrupted while it measures, what there was.

    Raises:
        SpecError: there is no such model, mixer, GPU, measure or option, a range or a value is
            wrong, there are too many points, or `kept` is another sweep.
    """
    batches = ["batch"] if is_range(options.get("batch")) else []
    place, workload = place_of(
        device, take_workload(workload, options, without=batches), measured=measure
    )
    swept = [name for name, value in options.items() if is_range(value)]
    budget = read_budget(memory, gpu)
    named = check_measures([*measures], budget, timed=measure)
    found = candidates(model, mixer, mixers, presets, options)
    ranges = {name: options[name] for name in swept}
    fixed = {name: value for name, value in options.items() if name not in {"preset", *swept}}
    most = None if max_points is None else POINTS.read("max_points", max_points)
    models, axes = read_curves(found, fixed, ranges, most=most)
    clock = Clock(device=place, protocol=protocol or Protocol()) if measure else None
    sweep = _without_points(models, axes, named, workload, budget, clock)
    before(sweep)
    if kept is not None:
        check_same(kept, sweep)
    points = _by_formula(models, axes, named, workload, budget, say)
    sweep = replace(sweep, crossovers=tuple(_crossovers(models, axes, sweep, workload, say)))
    if clock is None:
        return replace(sweep, points=tuple(points))
    return timed(models, sweep, points, workload, clock, kept=kept, keep=keep, say=say)


def _without_points(
    models: Mapping[str, Model],
    axes: Sequence[Axis],
    measures: tuple[str, ...],
    workload: Workload,
    budget: int | None,
    clock: Clock | None,
) -> Sweep:
    """All that is known of a sweep before anything is computed."""
    swept = {axis.name for axis in axes}
    specs = {
        label: {name: plain(v) for name, v in model.conditions().items() if name not in swept}
        for label, model in models.items()
    }
    (first, *others) = specs.values()
    shared = {n: v for n, v in first.items() if all((n, v) in spec.items() for spec in others)}
    steps = {name: plain(value) for name, value in workload.values().items() if name not in swept}
    if not {*measures} & {*_OF_A_STEP}:
        steps = {name: value for name, value in steps.items() if name == "batch"}
    if measures == ("params",):
        steps = {}
    if budget is not None:
        steps["budget_bytes"] = budget
    return Sweep(
        spec=shared,
        workload=steps,
        versions=versions(["torch"] if clock else []),
        convention="; ".join(_SAYING[measure] for measure in measures)
        + (f", {clock.protocol}" if clock else ""),
        axes={axis.name: tuple(plain(value) for value in axis.values) for axis in axes},
        units=_units(models.values(), axes),
        curves=tuple(models),
        measures=measures,
        points=(),
        crossovers=(),
        own={
            label: {n: v for n, v in spec.items() if n not in {*shared, "mixer"} and v != label}
            for label, spec in specs.items()
        },
        conditions=conditions_of(clock) if clock else {},
    )


def _units(models: Iterable[Model], axes: Iterable[Axis]) -> dict[str, str]:
    """What swept options count, by their names."""
    known = {name: kind for model in models for name, kind in options_of(model).items()}
    kinds = {axis.name: known[axis.name] for axis in axes}
    return {n: kind.unit for n, kind in kinds.items() if isinstance(kind, Whole) and kind.unit}


def _by_formula(
    models: Mapping[str, Model],
    axes: Sequence[Axis],
    measures: Sequence[str],
    workload: Workload,
    budget: int | None,
    say: Say,
) -> list[Point]:
    """The points, with all that needs no clock."""
    points = []
    for label, model in models.items():
        counted = {
            name: _counts(model, axes, name, workload) for name in measures if name in _COUNTED
        }
        for number, place in enumerate(places(axes)):
            say(f"{label}: {pairs(place)}")
            amounts: Amounts = dict.fromkeys(measures)
            reason = ""
            try:
                here, step = model.at(place), step_at(workload, place)
                for name in measures:
                    if name in _COUNTED:
                        amounts[name] = counted[name][number]
                    elif name in COSTS:
                        amounts[name] = COSTS[name](here, step, budget)
            except SpecError as error:
                reason = str(error)
            points.append(
                Point(
                    curve=label,
                    at={name: plain(value) for name, value in place.items()},
                    values=amounts,
                    reason=reason,
                )
            )
    return points


def _counts(model: Model, axes: Sequence[Axis], name: str, workload: Workload) -> list[int | None]:
    """Counts at every place, by arrays; along options that the model has not, they are equal."""
    import numpy

    from vitprof.sweeps.arrays import counts

    own = {axis.name: axis.values for axis in axes if axis.name in options_of(model)}
    batch = {} if "batch" in own else {"batch": workload.batch}
    found = counts(model, {**own, **batch}, _COUNTED[name])
    sizes = [len(axis.values) if axis.name in own else 1 for axis in axes]
    shape = tuple(len(axis.values) for axis in axes)
    spread: list[int | None] = (
        numpy.ma.MaskedArray(
            numpy.broadcast_to(found.data.reshape(sizes), shape),
            numpy.broadcast_to(numpy.ma.getmaskarray(found).reshape(sizes), shape),
        )
        .ravel()
        .tolist()
    )
    return spread


def _crossovers(
    models: Mapping[str, Model], axes: Sequence[Axis], sweep: Sweep, workload: Workload, say: Say
) -> Iterator[Crossover]:
    """From where on one is cheaper than another, along the option of most values."""
    option = option_of(sweep.axes)
    exact = [measure for measure in sweep.measures if measure in EXACT]
    kinds = [options_of(model).get(option or "") for model in models.values()]
    if option is None or not any(isinstance(kind, Whole) for kind in kinds):
        return
    values = [int(value) for value in sweep.axes[option]]
    for fixed in places([axis for axis in axes if axis.name != option]):
        for one, other in combinations(models, 2):
            say(f"where {one} and {other} cross")
            try:
                pair = {label: models[label].at(fixed) for label in (one, other)}
                step = step_at(workload, fixed)
                by_measure = find(
                    pair[one],
                    pair[other],
                    step,
                    option=option,
                    first=values[0],
                    last=values[-1],
                    measures=exact,
                )
            except SpecError:  # there is no value at which both are defined
                continue
            for measure, found in by_measure.items():
                for cheaper, than, stretches in (
                    (one, other, found.cheaper),
                    (other, one, found.dearer),
                ):
                    for start in _starts(stretches):
                        yield Crossover(
                            measure=measure,
                            option=option,
                            cheaper=cheaper,
                            than=than,
                            at=start,
                            searched=(found.first, found.last),
                            fixed={name: plain(value) for name, value in fixed.items()},
                            value=None
                            if start is None
                            else cost(pair[cheaper], step, measure, option, start),
                        )


def _starts(stretches: Sequence[Stretch]) -> list[int | None]:
    """Where the stretches begin; of very many, the first and the last; None where there is none."""
    starts: list[int | None] = [stretch.first for stretch in stretches] or [None]
    return starts if len(starts) <= _MOST_STARTS else [starts[0], starts[-1]]
