"""What configurations cost over ranges of options: from a request to a sweep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

from vitprof.batch_size.gpus import read_budget
from vitprof.candidates import Candidate, of_presets, with_mixers
from vitprof.drawing.curves import option_of
from vitprof.errors import SpecError, listing, unknown
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.options import Option, Whole, pairs, plain
from vitprof.profile import BATCH, quiet
from vitprof.report.sweep import Crossing, Point, Sweep
from vitprof.sweeps.axis import Axis, is_range, read_axis
from vitprof.sweeps.crossover import EXACT, cost, find
from vitprof.sweeps.measures import MEASURES
from vitprof.sweeps.points import (
    Place,
    check_number,
    first_defined,
    options_of,
    places,
    step_at,
)
from vitprof.sweeps.stretches import Stretch
from vitprof.sweeps.timed import Clock, Keep, Say, check_same, conditions_of, timed
from vitprof.version import versions
from vitprof.workload import Workload

Amounts = dict[str, int | float | None]

_COUNTED = {measure.value: measure for measure in Measure}
_OF_A_STEP = ("memory", "batch", "time")  # what depends on more of the workload than its batch
_MOST_STARTS = 8  # of stretches where one is cheaper; of more, the first and the last
_SAYING = {
    "params": "parameters are all, trained or not",
    "macs": "a MAC is one multiply and one add of a contraction in a forward pass",
    "memory": "memory is the most that the tensors of a step hold at once, in bytes, by formula",
    "batch": "the largest batch is the largest whose memory is within the budget",
    "time": "time is the median of a step on this machine, in seconds; at each point",
}


def read_curves(
    candidates: Sequence[Candidate],
    options: Mapping[str, object],
    ranges: Mapping[str, object],
    *,
    most: int | None = None,
) -> tuple[dict[str, Model], tuple[Axis, ...]]:
    """Read what is to be swept.

    Args:
        candidates: one a curve.
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
    for one in reversed(candidates):
        known |= {**one.mixer.declared(), **one.model.declared()}
    for name in ranges:
        if name not in known:  # for which `specify` has a sentence
            candidates[0].specify({name: None})
    axes = tuple(read_axis(name, given, known[name], most=most) for name, given in ranges.items())
    check_number(axes, len(candidates), most)
    models = {
        one.label: first_defined(partial(_specified, one, options), axes) for one in candidates
    }
    return models, axes


def _specified(candidate: Candidate, options: Mapping[str, object], place: Place) -> Model:
    given = {**options, **place}
    return candidate.specify({name: given[name] for name in given if name != "batch"})


def check_measures(names: Sequence[str], budget: int | None, *, timed: bool) -> tuple[str, ...]:
    """The measures by name, each once, those that are asked for otherwise among them.

    Raises:
        SpecError: there is no such measure, or what it needs is not there.
    """
    named = dict.fromkeys(names)
    for name in named:
        if name not in MEASURES:
            raise unknown("measure", name, MEASURES)
    if not named:
        raise SpecError(f"nothing is asked for; give --y, of {listing(MEASURES)}")
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
    mixers: Iterable[str] = (),
    presets: Iterable[str] = (),
    measures: Iterable[str] = ("macs", "memory"),
    memory: str | None = None,
    gpu: str | None = None,
    max_points: int | None = None,
    say: Say = quiet,
    **options: object,
) -> Sweep:
    """Find what models cost over ranges of options, and from where on which is the cheaper.

    Args:
        model: `mae`, `classifier` or `layer`.
        workload: how they are trained or run; made from the options if it is not given.
        mixers: names, a curve each.
        presets: names of published configurations, in place of `model` and `mixers`.
        measures: of `params`, `macs`, `memory` and `batch`.
        memory: the largest batch is that within so much, such as `24GiB`.
        gpu: the same for a named card, such as `h100`.
        max_points: how many points there may be; None for any number.
        say: told what is being done.
        **options: the workload's, the model's and the mixers' options, where a number may be
            a range, `"64:4096:x2"`, or several, `(64, 100)`; a mixer takes those that it has.

    Raises:
        SpecError: there is no such model, mixer, card, measure or option, a range or a value is
            wrong, or there are too many points.
    """
    if workload is None:
        steps: dict[str, Any] = {
            name: options.pop(name)
            for name in Workload.declared()
            if name in options and not (name == "batch" and is_range(options[name]))
        }
        workload = Workload(**steps)
    mixers, presets = [*mixers], [*presets]
    if presets and (mixers or model is not None):
        raise SpecError("presets name the models; leave out model and mixers")
    candidates = of_presets(presets) if presets else with_mixers(model, mixers or None, options)
    ranges = {name: value for name, value in options.items() if is_range(value)}
    fixed = {name: value for name, value in options.items() if name not in {"preset", *ranges}}
    budget = None if memory is None and gpu is None else read_budget(memory, gpu)
    models, axes = read_curves(candidates, fixed, ranges, most=max_points)
    return evaluate(models, axes, [*measures], workload, budget=budget, say=say)


def evaluate(
    models: Mapping[str, Model],
    axes: Sequence[Axis],
    measures: Sequence[str],
    workload: Workload,
    *,
    budget: int | None = None,
    clock: Clock | None = None,
    kept: Sweep | None = None,
    keep: Keep = lambda sweep: None,
    say: Say = quiet,
) -> Sweep:
    """Find what models cost at every combination of options' values.

    Args:
        models: one a curve, by its name; has the options that are on no axis.
        axes: the ranges.
        measures: of `params`, `macs`, `memory`, `batch` and `time`.
        workload: how the models are trained or run.
        budget: bytes, for the largest batch.
        clock: where and for how long steps are timed, for `time`.
        kept: an interrupted sweep that is to go on; what it has measured is not measured anew.
        keep: told what there is after each place that has been measured.
        say: told what is being done.

    Returns:
        The sweep; of one that is interrupted while it measures, what there was.

    Raises:
        SpecError: a measure needs what is not there, or `kept` is another sweep.
    """
    measures = check_measures(measures, budget, timed=clock is not None)
    found = _without_points(models, axes, measures, workload, budget, clock)
    if kept is not None:
        check_same(kept, found)
    points = _by_formula(models, axes, measures, workload, budget, say)
    found = replace(found, crossings=tuple(_crossings(models, axes, found, workload, say)))
    if clock is None:
        return replace(found, points=tuple(points))
    return timed(models, found, points, workload, clock, kept=kept, keep=keep, say=say)


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
        crossings=(),
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
                    elif MEASURES[name].exact:
                        amounts[name] = MEASURES[name].of(here, step, budget)
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


def _crossings(
    models: Mapping[str, Model], axes: Sequence[Axis], sweep: Sweep, workload: Workload, say: Say
) -> Iterator[Crossing]:
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
                        yield Crossing(
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
