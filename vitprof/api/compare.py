"""Lay models side by side: from a request to a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest

from vitprof.api.bench import time_steps
from vitprof.errors import SpecError, listing
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op
from vitprof.measuring.timing import Protocol, Timing
from vitprof.progress import Say, quiet
from vitprof.report.compare import Comparison, CostedStretch, Crossover, LayerCosts, Side
from vitprof.request.gpus import read_budget
from vitprof.request.side_by_side import lay_out
from vitprof.request.workload import Workload, place_of, take_workload
from vitprof.sweeps.costs import COSTS
from vitprof.sweeps.crossover import EXACT, check_option, cost, default_option, find
from vitprof.sweeps.stretches import Cost, Stretch
from vitprof.values.options import Value, Whole, label_of
from vitprof.version import versions

_CONVENTION = (
    "parameters are all that a model has; a MAC is one multiply and one add of a contraction, "
    "of a forward pass of the batch; memory is the most that the tensors of a step of eager "
    "PyTorch hold at once, by formula; crossovers are exact"
)
_TOKENS = Whole("how far to look for crossovers", maximum=10_000_000)
_OTHERS = replace(_TOKENS, maximum=65_536)  # along which more sizes have to be looked at


def compare(
    model: str | None = None,
    workload: Workload | None = None,
    *,
    mixer: str | None = None,
    mixers: Iterable[str] | None = None,
    presets: Iterable[str] | None = None,
    models: Mapping[str, Model] | None = None,
    memory: str | None = None,
    gpu: str | None = None,
    layers: bool = False,
    along: str | None = None,
    up_to: int | str | None = None,
    measure: bool = False,
    device: str | None = None,
    protocol: Protocol | None = None,
    say: Say = quiet,
    **options: object,
) -> Comparison:
    """Lay models side by side that differ in their mixer, or in anything.

    Args:
        model: a name that `vitprof models` lists.
        workload: how they are trained or run; made from the options if it is not given.
        mixer: of all presets, in place of their own.
        mixers: names; what others are compared with is the first.
        presets: names of published configurations, in place of `model` and `mixers`.
        models: whole models by name, in place of names and options.
        memory: find the largest batch within so much, such as `24GiB`.
        gpu: the same for a named GPU, such as `h100`.
        layers: list the layers that differ.
        along: the option along which to look for crossovers; None for the tokens of a bare
            layer and the image size of a whole model.
        up_to: how far to look; None for 65,536 tokens, or less of another option.
        measure: take the time of a step on this machine.
        device: device that the models are on, `cpu`, `cuda` or `cuda:1`, of whose kernels the
            memory is and where the time is taken; None for that of the workload, and for the
            CPU if time is taken.
        protocol: how long to take it.
        say: told what is being done.
        **options: the workload's, the model's and the mixers' options, `batch=10`, `dim=192`;
            a mixer takes those that it has.

    Raises:
        SpecError: there are not two models, there is no such model, mixer, GPU or option, or
            a value is wrong.
        BenchError: a step cannot be run, for want of memory or of a kernel.
    """
    place, workload = place_of(device, take_workload(workload, options), measured=measure)
    if mixers is None and presets is None and models is None:
        raise SpecError(
            "nothing is given to compare; give mixers, such as attn,lambda,linear, or presets, "
            "such as vit-s-16,deit-s"
        )
    models = lay_out(model, mixer, mixers, presets, models, options)
    if len(models) < 2:
        raise SpecError(
            f"{listing(models)} is one, and it takes two to compare; name another mixer, preset "
            "or spec"
        )
    option = default_option(next(iter(models.values()))) if along is None else along
    kind = check_option([*models.values()], option)
    bounds = _TOKENS if kind.unit == "tokens" else _OTHERS
    last = None if up_to is None else bounds.read("up_to", up_to)
    budget = read_budget(memory, gpu)

    timings: Mapping[str, Timing] = {}
    conditions: Mapping[str, str] = {}
    protocol = protocol or Protocol()
    if measure:
        timings, conditions = time_steps(models, workload, protocol, device=place, say=say)
    sides = _sides(models, workload, budget, timings)
    crossovers, unsearched = _crossovers(
        models, workload, option, last, say, optional=along is None
    )
    return Comparison(
        spec=_shared([side.spec for side in sides]),
        workload=workload.values(),
        conditions=conditions,
        versions=versions(["torch"] if measure else []),
        convention=_CONVENTION,
        protocol=str(protocol) if measure else "",
        bound=float(protocol.spread),
        budget_bytes=budget,
        measures=tuple(sides[0].amounts),
        sides=sides,
        layers=_differences(models, workload.batch) if layers else (),
        crossovers=crossovers,
        unsearched=unsearched,
    )


def _sides(
    models: Mapping[str, Model],
    workload: Workload,
    budget: int | None,
    timings: Mapping[str, Timing],
) -> tuple[Side, ...]:
    exact = [*EXACT, *(["batch"] if budget is not None else [])]
    amounts: dict[str, dict[str, int | float]] = {
        name: {measure: COSTS[measure](model, workload, budget) for measure in exact}
        for name, model in models.items()
    }
    for name, timing in timings.items():
        amounts[name]["time"] = timing.median
    first = next(iter(amounts.values()))
    return tuple(
        Side(
            name=name,
            spec=models[name].conditions(),
            amounts=own,
            ratios={measure: own[measure] / of if of else None for measure, of in first.items()},
            timing=timings.get(name),
        )
        for name, own in amounts.items()
    )


def _shared(specs: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    items = [spec.items() for spec in specs]
    return {name: value for name, value in items[0] if all((name, value) in s for s in items)}


def _crossovers(
    models: Mapping[str, Model],
    workload: Workload,
    option: str,
    last: int | None,
    say: Say,
    *,
    optional: bool,
) -> tuple[tuple[Crossover, ...], dict[str, str]]:
    """Where each model is cheaper than the first; and why there is none to be found."""
    (than, first), *others = models.items()
    crossovers: list[Crossover] = []
    unsearched: dict[str, str] = {}
    for name, model in others:
        say(f"looking for where {name} is cheaper than {than}")
        if optional and option not in model.declared():
            unsearched[name] = f"it has no {label_of(option)} to look along; give --along"
            continue
        try:
            found = find(model, first, workload, option=option, last=last)
        except SpecError as error:
            unsearched[name] = str(error)
            continue
        for measure, where in found.items():
            own, other = (partial(cost, one, workload, measure, option) for one in (model, first))
            crossovers.append(
                Crossover(
                    name=name,
                    than=than,
                    measure=measure,
                    option=option,
                    unit=check_option([first, model], option).unit,
                    first=where.first,
                    last=where.last,
                    squares=where.squares,
                    cheaper=tuple(_span(one, own, other) for one in where.cheaper),
                    dearer=tuple(_span(one, other, own) for one in where.dearer),
                )
            )
    return tuple(crossovers), unsearched


def _span(stretch: Stretch, cheaper: Cost, dearer: Cost) -> CostedStretch:
    return CostedStretch(
        first=stretch.first,
        last=stretch.last,
        cost=cheaper(stretch.first),
        other=dearer(stretch.first),
    )


def _differences(models: Mapping[str, Model], batch: int) -> tuple[LayerCosts, ...]:
    """The layers and ops that do not cost all models the same, in the models' order.

    What a model alone has comes after what it has before it.
    """
    counts = {name: _counts(model.formula(batch)) for name, model in models.items()}
    paths: list[str] = []
    for own in counts.values():
        before = ""
        for path in own:
            if path not in paths:
                paths.insert(paths.index(before) + 1 if before else 0, path)
            before = path
    rows = [
        LayerCosts(
            path=path,
            counts={
                measure.value: {
                    name: own.get(path, {}).get(measure) for name, own in counts.items()
                }
                for measure in Measure
            },
        )
        for path in paths
    ]
    unequal = [row for row in rows if any(len({*own.values()}) > 1 for own in row.counts.values())]
    # A layer whose only part has all that it has says nothing of its own.
    return tuple(
        row
        for row, below in zip_longest(unequal, unequal[1:])
        if not (below and below.path.startswith(f"{row.path}.") and below.counts == row.counts)
    )


def _counts(tree: Layer) -> dict[str, dict[Measure, int]]:
    """What each layer and op has, by its path; of nothing, nothing."""
    counts: dict[str, dict[Measure, int]] = {}
    for node in tree.walk(fold=True):
        item = node.item
        for measure in Measure:
            each = measure.of(item).value if isinstance(item, Op) else item.of_one(measure)
            if node.level and each:
                counts.setdefault(node.path, {})[measure] = each * node.repeat
    return counts
