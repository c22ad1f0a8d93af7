"""`vitprof.sweep`: compute the costs of models over ranges of options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from vitprof.api.timed import Clock, Keep, check_same, conditions_of, timed
from vitprof.errors import SpecError, listing, unknown
from vitprof.formats.drawing.curves import option_of
from vitprof.formulas.layer import OF_FORWARD
from vitprof.formulas.mixer import Mixer
from vitprof.measuring.timing import Protocol
from vitprof.progress import Say, quiet
from vitprof.report.curves import Crossover, Point
from vitprof.report.quantities import QUANTITIES
from vitprof.report.sweep import Sweep
from vitprof.request.budget import Budget, budget_record, read_budget
from vitprof.request.effects import check_effects
from vitprof.request.side_by_side import Candidate, candidates, without_module
from vitprof.request.specs import OF_STAGES
from vitprof.request.workload import BATCH, Workload, place_of, take_workload
from vitprof.subject import Configurable
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
from vitprof.sweeps.time import seconds
from vitprof.values.options import Option, Plain, Whole, label_of, pairs, plain, said
from vitprof.version import versions

Amounts = dict[str, int | float | None]

_COUNTED = {measure.value: measure for measure in OF_FORWARD}
_STEP = frozenset(Workload.declared())
_READS: Mapping[str, frozenset[str]] = {  # options of the workload that a measure depends on
    "params": frozenset(),
    "macs": frozenset({"batch"}),
    "training_macs": frozenset({"batch", "checkpoint"}),
    "memory": _STEP,
    "batch": _STEP - {"batch"},
    "time": _STEP,
    "gpu_time": _STEP,
}
POINTS = Whole("largest number of points, over all curves", maximum=10_000_000)
_MOST_STARTS = 8  # crossovers of a pair of curves; of more, the first and the last are kept
_CONVENTIONS = {
    "params": "parameters are all, trained or not",
    "macs": "a MAC is one multiply and one add of a contraction in a forward pass",
    "training_macs": (
        "training macs are those of a forward and a backward pass, with what is recomputed"
    ),
    "memory": (
        "memory is the most that the tensors of a step hold at once, in bytes, by formula, and of "
        "a module by a trace"
    ),
    "batch": (
        "the largest batch is the largest whose memory is within the budget, on a GPU with all "
        "that a GPU adds"
    ),
    "time": "time is the median of a step on this machine, in seconds; at each point",
    "gpu_time": (
        "time on the GPU is predicted, in seconds, and the points from which on it is shorter are "
        "those of the sweep"
    ),
}


def read_curves(
    found: Sequence[Candidate],
    options: Mapping[str, object],
    ranges: Mapping[str, object],
    *,
    most: int | None = None,
) -> tuple[dict[str, Configurable], tuple[Axis, ...]]:
    """Read the models and the swept options.

    Args:
        found: candidate models, one per curve.
        options: values of the options that are not swept; a mixer takes those that it declares.
        ranges: ranges for `read_axis`, by option of a model or mixer, or `batch`.
        most: largest number of points; None for no limit.

    Returns:
        The models by label, each at the first place at which it is defined, and the axes.

    Raises:
        SpecError: an option is unknown, a range is invalid, there are too many points, or a
            model is not defined at any of them.
    """
    if not ranges:
        raise SpecError(
            "nothing is swept; give an option a range, such as --tokens 64:16384:x2, "
            "--dim 64:512:+64 or --heads 2,4,8"
        )
    known: dict[str, Option] = {"batch": BATCH}
    for one in reversed(found):
        known |= one.declared()
    for name in ranges:
        if name not in known:  # raises the error for an unknown option
            found[0].specify({name: None})
    axes = tuple(read_axis(name, given, known[name], most=most) for name, given in ranges.items())
    check_number(axes, len(found), most)
    models = {one.label: first_defined(partial(_specified, one, options), axes) for one in found}
    check_effects(models.values(), options, swept=ranges)
    return models, axes


def _specified(candidate: Candidate, options: Mapping[str, object], place: Place) -> Configurable:
    sizes = {name: value for name, value in place.items() if name != "batch"}
    return candidate.specify({**options, **sizes})


def check_measures(names: Sequence[str], budget: Budget | None, *, timed: bool) -> tuple[str, ...]:
    """Return the checked measures without repeats, plus `batch` with a budget and `time` if timed.

    A time that is not measured is predicted if the budget names a GPU.

    Raises:
        SpecError: a measure is unknown, or needs a budget or a measurement that is not given.
    """
    named = dict.fromkeys(name.replace("-", "_") for name in names)
    for name in named:
        if name not in QUANTITIES:
            raise unknown("measure", name, QUANTITIES)
    if not named:
        raise SpecError(f"no measure is given; give --y with {listing(QUANTITIES)}")
    on_gpu = budget is not None and budget.platform is not None
    if "time" in named and not timed:
        if not on_gpu:
            raise SpecError(
                "time is measured on this machine or predicted for a GPU; give --measure with it, "
                "or --gpu, such as h100"
            )
        named = dict.fromkeys("gpu_time" if name == "time" else name for name in named)
    if "gpu_time" in named and not on_gpu:
        raise SpecError("the time of a step is predicted on a GPU; give --gpu, such as h100")
    if "batch" in named and budget is None:
        raise SpecError(
            "the largest batch needs a memory budget; give --gpu, such as rtx3090, or --memory, "
            "such as 24GiB"
        )
    named |= {"batch": None} if budget is not None else {}
    named |= {"time": None} if timed else {}
    return tuple(named)


def _read_by(measures: Iterable[str]) -> frozenset[str]:
    return frozenset[str]().union(*(_READS[measure] for measure in measures))


def _check_workload(workload: Workload, measures: Sequence[str], *, swept: Sequence[str]) -> None:
    """Raise SpecError if an option of the workload has no effect on any of the measures."""
    read = _read_by(measures)
    for name, value in workload.values().items():
        if name in read or (value == workload.default(name) and name not in swept):
            continue
        option = label_of(name) if name in swept else said(name, (value,))
        others = listing(measure for measure, of in _READS.items() if name in of)
        raise SpecError(
            f"{option} has no effect with --y {','.join(measures)}; leave it out, or add {others}"
        )


def sweep(
    model: str | None = None,
    workload: Workload | None = None,
    *,
    mixer: str | type[Mixer] | None = None,
    mixers: Iterable[str | type[Mixer]] | None = None,
    presets: Iterable[str] | None = None,
    modules: Iterable[str] | None = None,
    measures: Iterable[str] = ("macs", "memory"),
    memory: str | None = None,
    gpu: str | None = None,
    torch: str | None = None,
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
    """Compute the costs of models over ranges of options, and where the curves cross.

    Args:
        model: a name that `vitprof models` lists.
        workload: settings of the step; None to make it from `options`.
        mixer: mixer of the model, or of all presets.
        mixers: names of mixers, one curve each.
        presets: names of published configurations, instead of `model` and `mixers`.
        modules: references of modules, such as `timm:deit_small_patch16_224`, instead of models.
        measures: any of `params`, `macs`, `training_macs`, `memory`, `batch`, with `gpu`
            `gpu_time`, and with `measure` `time`; without it `time` is `gpu_time`.
        memory: memory budget for which the largest batch is predicted, such as `24GiB`.
        gpu: GPU that the batch has to fit with all that a GPU adds, such as `h100`.
        torch: version of PyTorch on that GPU, such as `2.11`; None for the newest known.
        max_points: largest number of points; None for no limit.
        measure: measure the time of a step at each point, on this machine.
        device: `cpu`, `cuda` or `cuda:1`; memory is predicted for its kernels, and time is
            measured on it. None for the workload's device, or the CPU if `measure` is set.
        protocol: limits of the measurement.
        before: called with the sweep without points before any is computed; may raise.
        kept: an interrupted run of the same sweep, whose times are reused; None for none.
        keep: called with the sweep so far after each measured place.
        say: called with a message on the current progress.
        **options: options of the workload, the model and the mixers; a number may also be a
            range, `"64:4096:x2"`, or several values, `(64, 100)`; a mixer takes those that
            it declares.

    Returns:
        The sweep; if interrupted during measurement, with the measured points only.

    Raises:
        SpecError: a model, mixer, GPU, measure or option is unknown, a range or a value is
            invalid, there are too many points, or `kept` is another sweep.
    """
    batches = ["batch"] if is_range(options.get("batch")) else []
    place, workload = place_of(
        device, take_workload(workload, options, without=batches), measured=measure
    )
    swept = [
        name
        for name, value in without_module(options).items()
        if is_range(value) and name not in OF_STAGES
    ]
    budget = read_budget(memory, gpu, torch)
    named = check_measures([*measures], budget, timed=measure)
    if "training_macs" in named and workload.inference:
        raise SpecError("training macs are of a training step; leave out inference")
    _check_workload(workload, named, swept=batches)
    say("reading the models")
    found = candidates(model, mixer, mixers, presets, modules, options)
    ranges = {name: options[name] for name in swept}
    others = {"preset", *swept}
    fixed = {name: value for name, value in without_module(options).items() if name not in others}
    most = None if max_points is None else POINTS.read("max_points", max_points)
    models, axes = read_curves(found, fixed, ranges, most=most)
    clock = Clock(device=place, protocol=protocol or Protocol()) if measure else None
    sweep = _empty_sweep(models, axes, named, workload, budget, clock)
    before(sweep)
    if kept is not None:
        check_same(kept, sweep)
    points = _by_formula(models, axes, named, workload, budget, say)
    crossovers = [*_crossovers(models, axes, sweep, workload, say)]
    crossovers += _changes(sweep, points)
    sweep = replace(sweep, crossovers=tuple(crossovers))
    if clock is None:
        return replace(sweep, points=tuple(points))
    return timed(models, sweep, points, workload, clock, kept=kept, keep=keep, say=say)


def _empty_sweep(
    models: Mapping[str, Configurable],
    axes: Sequence[Axis],
    measures: tuple[str, ...],
    workload: Workload,
    budget: Budget | None,
    clock: Clock | None,
) -> Sweep:
    """Return the sweep without points and crossovers."""
    swept = {axis.name for axis in axes}
    specs = {
        label: {name: plain(v) for name, v in model.conditions().items() if name not in swept}
        for label, model in models.items()
    }
    (first, *others) = specs.values()
    shared = {n: v for n, v in first.items() if all((n, v) in spec.items() for spec in others)}
    read = _read_by(measures) - swept
    steps = {name: plain(value) for name, value in workload.values().items() if name in read}
    if budget is not None:
        steps |= budget_record(budget)
    return Sweep(
        spec=shared,
        workload=steps,
        versions=versions(["torch"] if clock else []),
        convention="; ".join(_CONVENTIONS[measure] for measure in measures)
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


def _units(models: Iterable[Configurable], axes: Iterable[Axis]) -> dict[str, str]:
    """Return the units of the swept options that have one, by option."""
    known = {name: kind for model in models for name, kind in options_of(model).items()}
    kinds = {axis.name: known[axis.name] for axis in axes}
    return {n: kind.unit for n, kind in kinds.items() if isinstance(kind, Whole) and kind.unit}


def _by_formula(
    models: Mapping[str, Configurable],
    axes: Sequence[Axis],
    measures: Sequence[str],
    workload: Workload,
    budget: Budget | None,
    say: Say,
) -> list[Point]:
    """Return the points with the measures that are computed by formula."""
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
                    elif name == "gpu_time":
                        amounts[name] = seconds(here, step, budget)
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


def _counts(
    model: Configurable, axes: Sequence[Axis], name: str, workload: Workload
) -> list[int | None]:
    """Return the counts at every place, computed by arrays; None if undefined there.

    Counts are constant along options that the model does not have.
    """
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
    models: Mapping[str, Configurable],
    axes: Sequence[Axis],
    sweep: Sweep,
    workload: Workload,
    say: Say,
) -> Iterator[Crossover]:
    """Yield the crossovers of each pair of curves, along the option with the most values."""
    option = option_of(sweep.axes)
    exact = [measure for measure in sweep.measures if measure in EXACT]
    kinds = [options_of(model).get(option or "") for model in models.values()]
    if option is None or not any(isinstance(kind, Whole) for kind in kinds):
        return
    values = [int(value) for value in sweep.axes[option]]
    for fixed in places([axis for axis in axes if axis.name != option]):
        for one, other in combinations(models, 2):
            say(f"searching crossovers of {one} and {other}")
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
            except SpecError:  # the two are never defined at the same value
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


def _changes(sweep: Sweep, points: Sequence[Point]) -> Iterator[Crossover]:
    """Yield the points from which on a curve's predicted time is shorter than another's.

    Between two points it may cross several times, since it does not only grow with a size.
    """
    option = option_of(sweep.axes)
    if option is None or "gpu_time" not in sweep.measures:
        return
    rows: dict[tuple[Plain, ...], dict[str, dict[int, float]]] = {}
    for point in points:
        time, at = point.values.get("gpu_time"), point.at[option]
        if time is not None and isinstance(at, int):
            fixed = tuple(value for name, value in point.at.items() if name != option)
            rows.setdefault(fixed, {}).setdefault(point.curve, {})[at] = time
    for fixed, curves in rows.items():
        for one, other in combinations(curves, 2):
            shared = [at for at in curves[one] if at in curves[other]]
            before = ""
            for at in shared:
                own, its = curves[one][at], curves[other][at]
                cheaper, than = (one, other) if own < its else (other, one)
                if own != its and cheaper != before:
                    before = cheaper
                    yield Crossover(
                        measure="gpu_time",
                        option=option,
                        cheaper=cheaper,
                        than=than,
                        at=at,
                        searched=(shared[0], shared[-1]),
                        fixed=dict(
                            zip((name for name in sweep.axes if name != option), fixed, strict=True)
                        ),
                        value=min(own, its),
                    )


def _starts(stretches: Sequence[Stretch]) -> list[int | None]:
    """Return the starts of the stretches, or only the first and last of many; [None] if none."""
    starts: list[int | None] = [stretch.first for stretch in stretches] or [None]
    return starts if len(starts) <= _MOST_STARTS else [starts[0], starts[-1]]
