"""`vitprof.explain`: derive the counts of a model, or of a layer in it, step by step."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from vitprof.api.counts import (
    OF_A_FORWARD_PASS,
    WITHOUT_TOOLS,
    View,
    at_path,
    macs_of,
    of_tools,
    params_of,
    training_of,
)
from vitprof.captured.subject import CapturedModel
from vitprof.counters import NAMES, find_tools
from vitprof.counters.convention import Setting
from vitprof.docstrings import docstring
from vitprof.errors import SpecError, unknown
from vitprof.formulas.layer import OF_FORWARD, Layer, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.symbols import meaning_of
from vitprof.progress import Say, quiet
from vitprof.report.counts import Counts
from vitprof.report.derivation import derive, scoped, uncounted
from vitprof.report.explain import Explained, Symbol
from vitprof.request.effects import check_arguments
from vitprof.request.specs import spelled, subject
from vitprof.request.workload import BATCH, Workload
from vitprof.values.options import Whole
from vitprof.values.size import Size

if TYPE_CHECKING:
    from torch import nn

MEASURES = tuple(measure.value for measure in OF_FORWARD)
_OF_A_MIXER = re.compile(r"^[\w-]+: ")  # at the start of the help of a mixer's option
_WITHOUT_MACS = "measures params; leave it out, or add macs"


def explain(
    model: str | Model | CapturedModel | nn.Module | None = None,
    inputs: object = None,
    *,
    mixer: str | None = None,
    layer: str = "",
    measures: Iterable[str] = MEASURES,
    batch: int | str | None = None,
    counters: Iterable[str] = NAMES,
    device: str = "meta",
    train: bool = False,
    grad: bool = False,
    training: bool = False,
    checkpoint: bool = False,
    force: bool = False,
    fold: bool = True,
    say: Say = quiet,
    **options: object,
) -> Explained:
    """Derive the parameters and MACs of a model as a person would on paper, beside other tools.

    Args:
        model: a name that `vitprof models` lists, a model made by `specify`, or any module.
        inputs: what a module is called with, as `macs` takes it.
        mixer: a name that `vitprof mixers` lists.
        layer: path of the layer to derive, such as `blocks.0.mixer`; empty for the whole model.
        measures: any of `params` and `macs`.
        batch: images per forward pass; None for that of the inputs, or 1.
        counters: any of `analytic`, `torchinfo`, `fvcore`, `torch` and the others that `macs`
            takes.
        device: device of the model that the tools read: `meta` or `cpu`.
        train: put the model in train mode instead of eval mode.
        grad: enable gradients.
        training: derive the MACs of a training step, too, beside the tools that read one.
        checkpoint: recompute each block in the backward pass of that step.
        force: run a tool that executes the model even if the model is very large.
        fold: derive equal layers once, and multiply.
        say: called with a message on the current progress.
        **options: options of the model and the mixer, such as `dim=192`; an unknown name is an
            error.

    Raises:
        SpecError: a model, mixer, layer, measure, option or counter is unknown, or a value is
            invalid or has no effect.
    """
    wanted = _measures(measures) + [Measure.TRAINING] * training
    tools = find_tools(counters)
    called = wanted != [Measure.PARAMS]
    spec, given = subject(model, inputs, mixer=mixer, options=options, called=called)
    images = BATCH.read("batch", (given or 1) if batch is None else batch)
    setting = Setting(device=device, train=train, grad=grad)
    if not training:
        check_arguments({"checkpoint": (checkpoint, False)}, OF_A_FORWARD_PASS)
    if Measure.MACS not in wanted:
        check_arguments({"train": (train, False), "grad": (grad, False)}, _WITHOUT_MACS)
    if not called:
        settings = {"batch": (images, given or 1), **of_tools(spec, setting, force=force)}
        check_arguments(settings, _WITHOUT_MACS)
    elif not tools:
        check_arguments(of_tools(spec, setting, force=force), WITHOUT_TOOLS)
    trained = spec
    if isinstance(spec, CapturedModel):
        spec = spec.in_mode(train=train)
    counts: dict[Measure, Counts] = {}
    view = View(fold=fold)
    trees: dict[Measure, Layer] = {}
    for measure in wanted:
        if measure is Measure.TRAINING:
            from vitprof.allocation.training import training as training_tree

            trees[measure] = training_tree(trained, images, checkpoint=checkpoint)
        else:
            trees[measure] = spec.tree(measure, images)
        if layer:
            trees[measure] = at_path(trees[measure], layer)
        if measure is Measure.PARAMS:
            counts[measure] = params_of(spec, tools, layer=layer, view=view, say=say)
        elif measure is Measure.TRAINING:
            counts[measure] = training_of(
                trained,
                Workload(batch=images, checkpoint=checkpoint),
                [tool for tool in tools if tool.training is not None],
                Setting(device=device, train=True, grad=True, training=True),
                layer=layer,
                force=force,
                view=view,
                say=say,
            )
        else:
            counts[measure] = macs_of(
                spec, images, tools, setting, layer=layer, force=force, view=view, say=say
            )
    groups = [derive(tree, measure, fold=fold) for measure, tree in trees.items()]
    work = uncounted(trees[Measure.MACS]) if Measure.MACS in trees else []
    names, derived = scoped([*groups, *work])
    return Explained(
        layer=layer,
        about=_about(spec),
        equations=_equations(spec, layer),
        symbols=tuple(_symbols(spec, names)),
        counts=counts,
        derivations=dict(zip(wanted, derived, strict=False)),
        not_counted=tuple(derived[len(wanted) :]),
        invocation=_invocation(
            spec,
            {
                "layer": layer,
                "measures": wanted[0].value if len(wanted) == 1 + training else "",
                "batch": str(images) if images != 1 else "",
                "counters": _others([tool.name for tool in tools]),
                "device": device if device != "meta" else "",
            },
            [
                flag
                for flag, on in (
                    *(("train", train), ("grad", grad), ("training", training)),
                    *(("checkpoint", checkpoint), ("force", force)),
                )
                if on
            ],
        ),
    )


def _measures(names: Iterable[str]) -> list[Measure]:
    chosen = {*names}
    if not chosen:
        raise SpecError(f"no measure is named; choose from {' and '.join(MEASURES)}")
    for name in sorted(chosen - {*MEASURES}):
        raise unknown("measure", name, MEASURES)
    return [measure for measure in OF_FORWARD if measure.value in chosen]


def _others(tools: list[str]) -> str:
    """Return the counters to name on a command line; empty if they are the default."""
    return "" if tools == [*NAMES[1:]] else ",".join(tools) or NAMES[0]


def _about(spec: Model | CapturedModel) -> dict[str, str]:
    if not isinstance(spec, Model):
        return {}
    return {
        "model": f"{spec.name}, {spec.summary} ({spec.source})",
        "mixer": "; ".join(
            f"{part.name}, {part.summary} ({part.source})" for part in type(spec.mixer).parts()
        ),
    }


def _equations(spec: Model | CapturedModel, layer: str) -> str:
    """Return the equations of the mixer, if the layer is one or in one."""
    names = layer.split(".")
    if not isinstance(spec, Model) or "mixer" not in names:
        return ""
    found = spec.formula().at(".".join(names[: names.index("mixer") + 1]))
    parts = type(spec.mixer).parts()
    own = [part for part in parts if found is None or part.type() == found.type]
    return "\n\n".join(docstring(sys.modules[part.__module__]) for part in own)


def _symbols(spec: Model | CapturedModel, names: list[tuple[Size, bool]]) -> Iterable[Symbol]:
    for size, everywhere in names:
        meaning = _meaning(spec, size)
        yield Symbol(
            name=size.name,
            meaning=meaning if everywhere else f"{meaning}, by layer".removeprefix(", "),
            definition=size.definition if everywhere else None,
            value=size.value if everywhere else None,
        )


def _meaning(spec: Model | CapturedModel, size: Size) -> str:
    """Return what a size counts: the help of the one option that it is, else what its name says."""
    general = meaning_of(size.name)
    if not isinstance(spec, Model):
        return general
    values = {**spec.values(), **spec.mixer.values()}
    said = [
        _OF_A_MIXER.sub("", option.help).partition(",")[0]
        for name, option in spec.options().items()
        if isinstance(option, Whole) and option.symbol == size.name and values[name] == size.value
    ]
    return said[0] if len(said) == 1 else general or next(iter(said), "")


def _invocation(
    spec: Model | CapturedModel, values: Mapping[str, str], flags: Iterable[str]
) -> str:
    """Return the command line of the same derivation; empty if the model has no name."""
    try:
        words = ["vitprof", "explain", *spelled(spec)]
    except SpecError:  # a module that was given as it is
        return ""
    for name, value in values.items():
        words += [f"--{name}", value] if value else []
    return shlex.join([*words, *(f"--{flag}" for flag in flags)])
