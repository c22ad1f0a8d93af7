"""`vitprof.time`: predict the time of a step on a GPU, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from vitprof.allocation.launches import Launch, Moved
from vitprof.allocation.roofline import Cost, StepTime, cautions, step_time, total
from vitprof.api.counts import read_levels
from vitprof.captured.subject import CapturedModel
from vitprof.cuda.speed import FOUND, speed_of
from vitprof.cuda.versions import spell
from vitprof.errors import SpecError
from vitprof.formulas.layer import Layer, Node
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.model import Model
from vitprof.formulas.op import Shape
from vitprof.progress import Say, quiet
from vitprof.report.rows import rows
from vitprof.report.time import Time, TimeRow
from vitprof.request.budget import read_budget
from vitprof.request.specs import subject
from vitprof.request.workload import Workload, take_workload
from vitprof.sweeps.time import Batches, batches
from vitprof.values.size import Size, product
from vitprof.version import versions

if TYPE_CHECKING:
    from torch import Tensor, nn

_CONVENTION = (
    "a kernel takes the larger of its MACs over the rate of products and its bytes over the "
    "bandwidth, and a gap; a step takes the larger of the sum of its kernels and the time of the "
    "host, which goes by the functions that it calls; bytes are those of inputs and outputs, each "
    "once"
)


def time(
    model: str | Model | nn.Module | None = None,
    inputs: object = None,
    *,
    gpu: str | None = None,
    torch: str | None = None,
    workload: Workload | None = None,
    mixer: str | type[Mixer] | None = None,
    loss: Callable[[Any], Tensor] | None = None,
    fold: bool | None = None,
    levels: int | str | None = None,
    say: Say = quiet,
    **options: object,
) -> Time:
    """Predict the time of a training step or of inference on a GPU, layer by layer.

    Args:
        model: a name that `vitprof models` lists, a model made by `specify`, or any module.
        inputs: what a module is called with: a tensor, a shape with the batch in front, a tuple
            of them, or a dict of those by keyword.
        gpu: GPU that the step runs on, such as `h100`; required.
        torch: version of PyTorch on that GPU, such as `2.11`; None for the newest known.
        workload: settings of the step; None to make it from `options`.
        mixer: a name that `vitprof mixers` lists, a reference, or a class.
        loss: loss of a module's output; None for its `loss`, cross entropy of logits against
            labels 0, or the mean of its first tensor.
        fold: show equal layers in one row; None to do so only in what people read.
        levels: levels of layers to show; None for all.
        say: called with a message on the current progress.
        **options: options of the workload, the model and the mixer, such as `batch=10` or
            `dtype="bf16"`; an unknown name is an error.

    Raises:
        SpecError: no GPU is given, or its speed in this dtype is not known; a model, mixer or
            option is unknown; or a value is invalid.
    """
    budget = read_budget(None, gpu, torch)
    if budget is None or budget.platform is None:
        raise SpecError("the time of a step is that on a GPU; give --gpu, such as h100")
    platform = budget.platform
    told = {*options} if workload is None else {"batch", "dtype"}
    workload = take_workload(workload, options)
    if workload.device == "cpu":
        raise SpecError("the time of a step is that on a GPU; leave out device cpu")
    spec, given = subject(model, inputs, mixer=mixer, options=options)
    if given is not None and "batch" not in told:
        workload = replace(workload, batch=given)
    if isinstance(spec, CapturedModel):
        spec = replace(spec, loss=loss)
        if "dtype" not in told:
            workload = replace(workload, dtype=spec.dtype or workload.dtype)
    elif loss is not None:
        raise SpecError("loss is that of a module; vitprof's own models have theirs")
    speed = speed_of(platform.gpu, workload.dtype)
    say("following the kernels of a step")
    some = batches(spec, workload, platform)
    found = step_time(some, workload, speed)
    tree = spec.modules({}) if isinstance(spec, CapturedModel) else spec.formula(workload.batch)
    full = _rows(tree, found, some, fold=bool(fold), levels=read_levels(levels))
    folded = full
    if fold is None:
        folded = _rows(tree, found, some, fold=True, levels=read_levels(levels))
    return Time(
        spec=spec.conditions(),
        workload=workload.values(),
        versions=versions(["torch"] if isinstance(spec, CapturedModel) else []),
        convention=_CONVENTION,
        speed=speed,
        torch=spell(platform.torch),
        found=FOUND,
        phases={phase: found.of(phase) for phase in found.phases},
        cautions=cautions(some, found, speed),
        tree=full,
        folded=folded,
    )


def _rows(
    tree: Layer, found: StepTime, some: Batches, *, fold: bool, levels: int | None
) -> tuple[TimeRow, ...]:
    """Return a row for each layer, and for what runs outside of layers."""
    by_path: dict[str, dict[str, Cost]] = {}
    for phase, costs in found.phases.items():
        for path, cost in costs.items():
            by_path.setdefault(path, {})[phase] = cost
    within: dict[str, dict[str, Cost]] = {}
    for path, own in by_path.items():
        parts = path.split(".")
        for number in range(1, len(parts) + 1):
            _add(within.setdefault(".".join(parts[:number]), {}), own)
    moved = _moved(some)
    there: dict[str, Sequence[str]] = {}

    def count(node: Node) -> tuple[Size, int]:
        there[node.path] = node.paths
        cost = total(one for path in node.paths for one in within.get(path, {}).values())
        return Size(0), cost.launches

    made = []
    for row in rows(tree, count, {}, fold=fold, levels=levels):
        phases: dict[str, Cost] = {}
        for path in there[row.path]:
            _add(phases, within.get(path, {}))
        made.append(
            TimeRow(
                path=row.path,
                name=row.name,
                level=row.level,
                type=row.type,
                repeat=row.repeat,
                leaf=row.leaf,
                phases=phases,
                sizes=moved.get(there[row.path][0], {}) if row.leaf else {},
            )
        )
    places = {path: place for place, row in enumerate(made) for path in there[row.path]}
    layers = {path for node in tree.walk(fold=False) for path in node.paths if node.level}
    return _with_others(made, by_path, moved, places, layers, levels)


def _with_others(
    made: list[TimeRow],
    by_path: Mapping[str, Mapping[str, Cost]],
    moved: Mapping[str, Mapping[str, Size]],
    places: Mapping[str, int],
    layers: Collection[str],
    levels: int | None,
) -> tuple[TimeRow, ...]:
    """Add the rows of kernels that are of no layer, such as copies that a view takes, and the loss.

    Args:
        made: rows of layers, parents first.
        by_path: cost by path and phase.
        moved: bytes by path and phase.
        places: index of the row that each shown path is in.
        layers: paths of all layers and ops.
        levels: levels of layers to show; None for all.
    """
    others: dict[tuple[int | None, str], TimeRow] = {}
    for path, own in by_path.items():
        above = path
        while above and above not in places:
            above = above.rpartition(".")[0]
        place = places[above] if above else None
        row = None if place is None else made[place]
        if row is not None and (
            row.level == levels or (path in layers and (path != above or row.leaf))
        ):
            continue  # the row has it
        name = path.removeprefix(above).lstrip(".") or ("own" if path else "the model")
        before = others.get((place, name))
        phases = dict(before.phases) if before is not None else {}
        _add(phases, own)
        others[place, name] = TimeRow(
            path=path if row is None or before is None else before.path,
            name=name,
            level=1 if row is None else row.level + 1,
            type="",
            repeat=1 if row is None else row.repeat,
            leaf=True,
            phases=phases,
            sizes=moved.get(path, {}),
        )
    outside = [one for (place, _), one in others.items() if place is None]
    inside = [(place, one) for (place, _), one in others.items() if place is not None]
    for place, one in sorted(inside, key=lambda item: -item[0]):  # later ones move no earlier ones
        made[place] = replace(made[place], leaf=False, sizes={})
        end = place + 1
        while end < len(made) and made[end].level > made[place].level:
            end += 1
        made.insert(end, one)
    return (*made, *outside)


def _add(to: dict[str, Cost], phases: Mapping[str, Cost]) -> None:
    for phase, cost in phases.items():
        to[phase] = to[phase] + cost if phase in to else cost


def _moved(some: Batches) -> dict[str, dict[str, Size]]:
    """Return the bytes of a batch by path and phase, with their formula."""
    _, launches = some[-1]
    found: dict[str, dict[str, Size]] = {}
    for phase, own in launches.items():
        by_path: dict[str, list[Launch]] = {}
        for launch in own:
            by_path.setdefault(launch.at, []).append(launch)
        for path, at in by_path.items():
            moved = [one for launch in at for one in launch.moved]
            found.setdefault(path, {})[phase] = _size(moved)
    return found


def _size(moved: Sequence[Moved]) -> Size:
    """Return the bytes of tensors: each number of elements times the bytes that move of it."""
    alike: dict[tuple[str, int], tuple[Shape, int]] = {}
    for one in moved:
        axes = one.axes
        elements = product(axes)
        key = elements.formula, elements.value
        alike[key] = axes, alike.get(key, (axes, 0))[1] + one.element
    terms = [product((Size(each), *axes)) for axes, each in alike.values()]
    whole = reduce(Size.__add__, terms) if terms else Size(0)
    # Two parameters may be `in × out`, and not of the same sizes.
    return whole if len({name for name, _ in alike}) == len(alike) else Size(whole.value)
