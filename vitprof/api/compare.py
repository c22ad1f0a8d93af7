"""`vitprof.compare`: compare the costs of models, and find where they cross."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest

from vitprof.api.bench import time_steps
from vitprof.cuda.speed import speed_of
from vitprof.errors import SpecError, listing
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.op import Op
from vitprof.measuring.timing import Protocol, Timing
from vitprof.progress import Say, quiet
from vitprof.report.compare import Comparison, CostedStretch, Crossover, LayerCosts, Side
from vitprof.request.budget import Budget, read_budget
from vitprof.request.side_by_side import lay_out
from vitprof.request.workload import Workload, place_of, take_workload
from vitprof.subject import Configurable
from vitprof.sweeps.costs import COSTS
from vitprof.sweeps.crossover import EXACT, USUAL, check_option, cost, default_option, find
from vitprof.sweeps.stretches import Cost, Stretch
from vitprof.sweeps.time import seconds
from vitprof.values.options import Value, Whole, label_of
from vitprof.version import versions

_CONVENTION = (
    "parameters are all that a model has; a MAC is one multiply and one add of a contraction, "
    "of a forward pass of the batch; memory is the most that the tensors of a step of eager "
    "PyTorch hold at once, by formula, and of a module by a trace; crossovers are exact"
)
_OF_TRAINING = "training MACs are those of a forward and a backward pass, with what is recomputed"
_PREDICTED = "time on the GPU is predicted, as vitprof time does"
_TOKENS = Whole("largest value to search for crossovers", maximum=10_000_000)
_OTHERS = replace(_TOKENS, maximum=65_536)  # slower: the search evaluates more sizes


def compare(
    model: str | None = None,
    workload: Workload | None = None,
    *,
    mixer: str | type[Mixer] | None = None,
    mixers: Iterable[str | type[Mixer]] | None = None,
    presets: Iterable[str] | None = None,
    modules: Iterable[str] | None = None,
    models: Mapping[str, Configurable] | None = None,
    memory: str | None = None,
    gpu: str | None = None,
    torch: str | None = None,
    training: bool = False,
    layers: bool = False,
    along: str | None = None,
    up_to: int | str | None = None,
    measure: bool = False,
    device: str | None = None,
    protocol: Protocol | None = None,
    say: Say = quiet,
    **options: object,
) -> Comparison:
    """Compare the costs of models that differ in their mixer or in any option.

    Args:
        model: a name that `vitprof models` lists.
        workload: settings of the step; None to make it from `options`.
        mixer: mixer of all presets, instead of their own.
        mixers: names of the mixers to compare; the first is the baseline.
        presets: names of published configurations, instead of `model` and `mixers`.
        modules: references of modules, such as `timm:deit_small_patch16_224`, instead of models.
        models: models by name, instead of names and options.
        memory: memory budget for which the largest batch is predicted, such as `24GiB`.
        gpu: GPU that the batch has to fit with all that a GPU adds, such as `h100`.
        torch: version of PyTorch on that GPU, such as `2.11`; None for the newest known.
        training: compare the MACs of a training step, too.
        layers: list the layers whose costs differ.
        along: option along which crossovers are searched; None for the tokens of a bare layer
            and the image size of a whole model.
        up_to: largest value of that option to search; None for 65,536 tokens, and less for
            other options.
        measure: measure the time of a step on this machine.
        device: `cpu`, `cuda` or `cuda:1`; memory is predicted for its kernels, and time is
            measured on it. None for the workload's device, or the CPU if `measure` is set.
        protocol: limits of the measurement.
        say: called with a message on the current progress.
        **options: options of the workload, the model and the mixers, such as `batch=10` or
            `dim=192`; a mixer takes those that it declares.

    Raises:
        SpecError: there are fewer than two models; a model, mixer, GPU or option is unknown; or
            a value is invalid.
        BenchError: a step failed to run: out of memory, or a missing kernel.
    """
    place, workload = place_of(device, take_workload(workload, options), measured=measure)
    if mixers is None and presets is None and modules is None and models is None:
        raise SpecError(
            "nothing is given to compare; give --mixers, such as attn,lambda,linear, --presets, "
            "such as vit-s-16,deit-s, or --modules, such as "
            "timm:vit_tiny_patch16_224,torchvision:resnet18"
        )
    models = lay_out(model, mixer, mixers, presets, modules, models, options)
    if len(models) < 2:
        raise SpecError(
            f"a comparison needs at least two models, not {listing(models)} alone; add another "
            "mixer, preset or spec"
        )
    option = default_option(next(iter(models.values()))) if along is None else along
    kind = check_option([*models.values()], option)
    bounds = _TOKENS if kind.unit == "tokens" else _OTHERS
    last = None if up_to is None else bounds.read("up_to", up_to)
    budget = read_budget(memory, gpu, torch)

    if training and workload.inference:
        raise SpecError("training compares a training step; leave out inference")
    exact = EXACT if training else USUAL

    timings: Mapping[str, Timing] = {}
    conditions: Mapping[str, str] = {}
    protocol = protocol or Protocol()
    if measure:
        timings, conditions = time_steps(models, workload, protocol, device=place, say=say)
    sides = _sides(models, exact, workload, budget, timings)
    crossovers, unsearched = _crossovers(
        models, exact, workload, option, last, say, optional=along is None
    )
    return Comparison(
        spec=_shared([side.spec for side in sides]),
        workload=workload.values(),
        conditions=conditions,
        versions=versions(["torch"] if measure else []),
        convention="; ".join(
            [
                _CONVENTION,
                *([_OF_TRAINING] if training else []),
                *([_PREDICTED] if _has_speed(budget, workload) else []),
            ]
        ),
        protocol=str(protocol) if measure else "",
        bound=float(protocol.spread),
        budget=budget,
        measures=tuple(sides[0].amounts),
        sides=sides,
        layers=_differences(models, workload, exact) if layers else (),
        crossovers=crossovers,
        unsearched=unsearched,
    )


def _sides(
    models: Mapping[str, Configurable],
    exact: Sequence[str],
    workload: Workload,
    budget: Budget | None,
    timings: Mapping[str, Timing],
) -> tuple[Side, ...]:
    measures = [*exact, *(["batch"] if budget is not None else [])]
    amounts: dict[str, dict[str, int | float]] = {
        name: {measure: COSTS[measure](model, workload, budget) for measure in measures}
        for name, model in models.items()
    }
    if _has_speed(budget, workload):
        for name, model in models.items():
            amounts[name]["gpu_time"] = seconds(model, workload, budget)
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


def _has_speed(budget: Budget | None, workload: Workload) -> bool:
    """Return True if a budget names a GPU whose speed in the workload's dtype is known."""
    if budget is None or budget.platform is None:
        return False
    return workload.dtype in speed_of(budget.platform.gpu, "fp32").products


def _shared(specs: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    items = [spec.items() for spec in specs]
    return {name: value for name, value in items[0] if all((name, value) in s for s in items)}


def _crossovers(
    models: Mapping[str, Configurable],
    exact: Sequence[str],
    workload: Workload,
    option: str,
    last: int | None,
    say: Say,
    *,
    optional: bool,
) -> tuple[tuple[Crossover, ...], dict[str, str]]:
    """Return the crossovers of each model with the first, and reasons for skipped models."""
    (than, first), *others = models.items()
    crossovers: list[Crossover] = []
    unsearched: dict[str, str] = {}
    for name, model in others:
        say(f"searching crossovers of {name} and {than}")
        if optional and option not in model.declared():
            unsearched[name] = f"it has no option {label_of(option)} to search along; give --along"
            continue
        try:
            found = find(model, first, workload, option=option, last=last, measures=exact)
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
                    step=where.step,
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


def _differences(
    models: Mapping[str, Configurable], workload: Workload, exact: Sequence[str]
) -> tuple[LayerCosts, ...]:
    """Return the layers and ops whose costs differ between models, in the models' order.

    A layer that only one model has comes after the layer that precedes it in that model.
    """
    measures = [measure for measure in Measure if measure.value in exact]
    counts = {
        name: _counts(_tree(model, workload, measures), measures) for name, model in models.items()
    }
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
                for measure in measures
            },
        )
        for path in paths
    ]
    unequal = [row for row in rows if any(len({*own.values()}) > 1 for own in row.counts.values())]
    # A parent whose counts are those of its first child would repeat them.
    return tuple(
        row
        for row, below in zip_longest(unequal, unequal[1:])
        if not (below and below.path.startswith(f"{row.path}.") and below.counts == row.counts)
    )


def _tree(model: Configurable, workload: Workload, measures: Sequence[Measure]) -> Layer:
    if Measure.TRAINING in measures:
        from vitprof.allocation.training import training as training_tree

        return training_tree(model, workload.batch, checkpoint=workload.checkpoint)
    return model.formula(workload.batch)


def _counts(tree: Layer, measures: Sequence[Measure]) -> dict[str, dict[Measure, int]]:
    """Return the nonzero counts of each layer and op, by path."""
    counts: dict[str, dict[Measure, int]] = {}
    for node in tree.walk(fold=True):
        item = node.item
        for measure in measures:
            each = measure.of(item).value if isinstance(item, Op) else item.of_one(measure)
            if node.level and each:
                counts.setdefault(node.path, {})[measure] = each * node.repeat
    return counts
