"""`vitprof.params` and `vitprof.macs`: count a model, and explain the counts of other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vitprof.captured.subject import CapturedModel
from vitprof.counters import ALL, NAMES, find_tools
from vitprof.counters.convention import Setting
from vitprof.counters.parts import module_parts, parts_within
from vitprof.counters.read import read_macs, read_params, read_training
from vitprof.counters.reading import Reading, Tool, TrainingStep, Unavailable
from vitprof.counters.reconcile import Difference, reconcile_macs, reconcile_params
from vitprof.errors import SpecError, unknown
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op, Pass
from vitprof.formulas.totals import HEADLINES, totals
from vitprof.progress import Say, quiet
from vitprof.report.columns import read_columns
from vitprof.report.counts import Counts, known_columns
from vitprof.report.groups import BY
from vitprof.report.layers import Row
from vitprof.report.module import ModuleFacts, Varied
from vitprof.report.rows import counted, rows
from vitprof.request.effects import check_arguments
from vitprof.request.specs import subject
from vitprof.request.workload import BATCH, Workload
from vitprof.values.options import Value, Whole
from vitprof.version import versions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vitprof.captured.template import Template

_LEVELS = Whole("levels of layers to show", maximum=100)
WITHOUT_TOOLS = "counters analytic; leave it out, or name a tool, such as counters fvcore"
_OF_A_STEP = "training, which runs in train mode with gradients; leave it out"
OF_A_FORWARD_PASS = "a forward pass alone; leave it out, or give training, too"
_OF_MODULES = "a model whose work all has rules; leave it out, or count a module by --module"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Rows, columns and totals that a report shows of its counts.

    Attributes:
        fold: True to show equal layers in one row; None to do so only in what people read.
        levels: levels of layers to show; None for all.
        why: True to list every cause of every difference.
        columns: names of the columns to show; empty for the usual ones.
        by: `type`, `kind` or `depth` to show totals instead of layers; else empty.
    """

    fold: bool | None = None
    levels: int | None = None
    why: bool = False
    columns: tuple[str, ...] = ()
    by: str = ""


USUAL = View()

_CONVENTIONS = {
    Measure.PARAMS: (
        "layers own parameters, and are all that torchinfo before 1.7 counted; tokens and "
        "positions are parameters that no layer owns; fixed parameters are not trained"
    ),
    Measure.MACS: (
        "a MAC is one multiply and one add of a contraction (linear layer, convolution, "
        "matrix product); nothing else is counted; FLOPs = 2 × MACs"
    ),
    Measure.TRAINING: (
        "a MAC is one multiply and one add of a contraction (linear layer, convolution, "
        "matrix product); nothing else is counted, and nothing of the optimizer; each is computed "
        "once forward and once for each operand that wants a gradient: by input for an activation, "
        "by weight for a parameter; recomputed is what the backward pass computes again of the "
        "forward pass; FLOPs = 2 × MACs"
    ),
}


def params(
    model: str | Model | CapturedModel | nn.Module | None = None,
    inputs: object = None,
    *,
    mixer: str | type[Mixer] | None = None,
    counters: Iterable[str] = NAMES,
    fold: bool | None = None,
    levels: int | str | None = None,
    why: bool = False,
    columns: Iterable[str] | None = None,
    by: str | None = None,
    say: Say = quiet,
    **options: object,
) -> Counts:
    """Count the parameters of a model, layer by layer, beside the counts of other tools.

    Args:
        model: a name that `vitprof models` lists, a model made by `specify`, or any module.
        inputs: what a module is called with; parameters do not depend on it.
        mixer: a name that `vitprof mixers` lists, a reference, or a class.
        counters: any of `analytic`, `torchinfo`, `fvcore`, `torch`; of the extras `thop`,
            `torchprofile`, `ptflops`, `ptflops-aten`, `calflops` and `deepspeed`; or `all`.
            `analytic`, the formulas, is always included, and alone it does not import PyTorch.
        fold: show equal layers in one row; None to do so only in what people read.
        levels: levels of layers to show; None for all.
        why: list every cause of every difference in the report.
        columns: names of the columns to show, in their order, such as `layer`, `output` and
            `share`; None for the usual ones.
        by: show totals instead of layers, by `type`, `kind` or `depth`.
        say: called with a message on the current progress.
        **options: options of the model and the mixer, such as `dim=192`; an unknown name is an
            error.

    Raises:
        SpecError: a model, mixer, option, counter or column is unknown, or a value is invalid.
    """
    spec, _ = subject(model, inputs, mixer=mixer, options=options, called=False)
    tools = find_tools(counters)
    if not tools:
        check_arguments({"why": (why, False)}, WITHOUT_TOOLS)
    names = (tool.name for tool in tools)
    view = read_view(
        Measure.PARAMS, names, fold=fold, levels=levels, why=why, columns=columns, by=by
    )
    return params_of(spec, tools, view=view, say=say)


def params_of(
    spec: Model | CapturedModel,
    tools: Sequence[Tool],
    *,
    layer: str = "",
    view: View = USUAL,
    say: Say = quiet,
) -> Counts:
    """Count the parameters of a model, or of the layer at a path, as `params` does."""
    parts = facts = None
    if isinstance(spec, CapturedModel):
        say("building the module")
        tree, parts = spec.parameters(), module_parts(spec.module)
        facts = parameter_facts(spec)
    else:
        tree = spec.formula()
    readings = read_params(tools, spec, say=say) if tools else {}
    if layer:
        tree, readings = _within(layer, tree, readings)
        parts = parts and parts_within(layer, parts)
    return _counts(
        Measure.PARAMS,
        tree,
        tools,
        readings,
        lambda tool, reading: reconcile_params(tree, tool, reading, parts),
        spec=spec.built_conditions() if isinstance(spec, CapturedModel) else spec.conditions(),
        conditions={"dtype": "float32"},
        view=view,
        module=facts,
    )


def macs(
    model: str | Model | CapturedModel | nn.Module | None = None,
    inputs: object = None,
    *,
    mixer: str | type[Mixer] | None = None,
    batch: int | str | None = None,
    counters: Iterable[str] = NAMES,
    device: str = "meta",
    train: bool = False,
    grad: bool = False,
    training: bool = False,
    checkpoint: bool = False,
    loss: Callable[[Any], Tensor] | None = None,
    force: bool = False,
    strict: bool = False,
    fold: bool | None = None,
    levels: int | str | None = None,
    why: bool = False,
    columns: Iterable[str] | None = None,
    by: str | None = None,
    say: Say = quiet,
    **options: object,
) -> Counts:
    """Count the multiply-accumulates of a forward pass, or of a training step, beside other tools.

    Args:
        model: a name that `vitprof models` lists, a model made by `specify`, or any module.
        inputs: what a module is called with: a tensor, a shape with the batch in front, a tuple
            of them, or a dict of those by keyword.
        mixer: a name that `vitprof mixers` lists, a reference, or a class.
        batch: images per forward pass; None for that of the inputs, or 1.
        counters: any of `analytic`, `torchinfo`, `fvcore`, `torch`; of the extras `thop`,
            `torchprofile`, `ptflops`, `ptflops-aten`, `calflops` and `deepspeed`; or `all`.
            `analytic`, the formulas, is always included, and alone it does not import PyTorch.
        device: device of the model that the tools read: `meta`, on which no kernel runs, or
            `cpu`.
        train: put the model in train mode instead of eval mode.
        grad: enable gradients.
        training: count a training step, forward and backward pass, instead of a forward pass;
            of the tools only `torch` reads one.
        checkpoint: recompute each block in the backward pass of that step (activation
            checkpointing).
        loss: loss of a module's output in that step; None for its `loss`, cross entropy of logits
            against labels 0, or the mean of its first tensor.
        force: run a tool that executes the model even if the model is very large.
        strict: let the report not hold if a module runs kernels that no rule counts.
        fold: show equal layers in one row; None to do so only in what people read.
        levels: levels of layers to show; None for all.
        why: list every cause of every difference in the report.
        columns: names of the columns to show, in their order, such as `layer`, `output` and
            `share`; None for the usual ones.
        by: show totals instead of layers, by `type`, `kind` or `depth`.
        say: called with a message on the current progress.
        **options: options of the model and the mixer, such as `dim=192`; an unknown name is an
            error.

    Raises:
        SpecError: a model, mixer, option, counter or column is unknown, or a value is invalid.
    """
    spec, given = subject(model, inputs, mixer=mixer, options=options)
    images = BATCH.read("batch", (given or 1) if batch is None else batch)
    measure = Measure.TRAINING if training else Measure.MACS
    tools = _of_training(counters) if training else find_tools(counters)
    if not isinstance(spec, CapturedModel):
        check_arguments({"strict": (strict, False)}, _OF_MODULES)
    if training:
        check_arguments({"train": (train, False), "grad": (grad, False)}, _OF_A_STEP)
    else:
        check_arguments({"checkpoint": (checkpoint, False)}, OF_A_FORWARD_PASS)
    if loss is not None:
        if not training:
            raise SpecError(f"loss has no effect with {OF_A_FORWARD_PASS}")
        if not isinstance(spec, CapturedModel):
            raise SpecError("loss is that of a module; vitprof's own models have theirs")
        spec = replace(spec, loss=loss)
    setting = Setting(
        device=device, train=train or training, grad=grad or training, training=training
    )
    if not tools:
        own = Setting(device=device) if training else setting
        check_arguments({**of_tools(spec, own, force=force), "why": (why, False)}, WITHOUT_TOOLS)
    names = (tool.name for tool in tools)
    view = read_view(measure, names, fold=fold, levels=levels, why=why, columns=columns, by=by)
    if training:
        return training_of(
            spec,
            Workload(batch=images, checkpoint=checkpoint),
            tools,
            setting,
            force=force,
            strict=strict,
            view=view,
            say=say,
        )
    return macs_of(
        spec,
        images,
        tools,
        setting,
        force=force,
        strict=strict,
        view=view,
        say=say,
    )


def of_tools(
    spec: Model | CapturedModel, setting: Setting, *, force: bool
) -> dict[str, tuple[Value, Value]]:
    """Return the value and the default of each argument that only a tool's MACs depend on.

    The mode of a module decides what it runs, too.
    """
    given: dict[str, tuple[Value, Value]] = {
        "device": (setting.device, "meta"),
        "train": (setting.train, False),
        "grad": (setting.grad, False),
        "force": (force, False),
    }
    if isinstance(spec, CapturedModel):
        del given["train"]
    return given


def macs_of(
    spec: Model | CapturedModel,
    images: int,
    tools: Sequence[Tool],
    setting: Setting,
    *,
    layer: str = "",
    force: bool = False,
    strict: bool = False,
    view: View = USUAL,
    say: Say = quiet,
) -> Counts:
    """Count the MACs of a model, or of the layer at a path, as `macs` does."""
    if isinstance(spec, CapturedModel):
        say("capturing the module at several sizes")
        spec = spec.in_mode(train=setting.train)
    tree, facts = spec.formula(images), None
    if isinstance(spec, CapturedModel):
        facts = captured_facts(spec, tree, images, spec.template)
    readings = read_macs(tools, spec, images, setting, force=force, say=say) if tools else {}
    if layer:
        tree, readings = _within(layer, tree, readings)
    return _counts(
        Measure.MACS,
        tree,
        tools,
        readings,
        lambda tool, reading: reconcile_macs(
            tree,
            tool.convention(replace(setting, device="cpu") if reading.executed else setting),
            reading,
        ),
        spec={**spec.conditions(), "batch": images},
        conditions={"dtype": "float32", **setting.conditions()},
        view=view,
        module=facts,
        strict=strict,
    )


def training_of(
    spec: Model | CapturedModel,
    workload: Workload,
    tools: Sequence[Tool],
    setting: Setting,
    *,
    layer: str = "",
    force: bool = False,
    strict: bool = False,
    view: View = USUAL,
    say: Say = quiet,
) -> Counts:
    """Count the MACs of a training step of a model, or of the layer at a path, as `macs` does."""
    from vitprof.allocation.training import training as training_tree

    say("following the step")
    tree = training_tree(spec, workload.batch, checkpoint=workload.checkpoint)
    facts = None
    if isinstance(spec, CapturedModel):
        template = spec.step_template(checkpoint=workload.checkpoint)
        facts = captured_facts(spec, tree, workload.batch, template)

    def make(device: str) -> TrainingStep:
        from vitprof.running.step import Step

        loss = spec.loss if isinstance(spec, CapturedModel) else None
        return Step(spec, workload, device=device, loss=loss)

    readings: dict[str, Reading | Unavailable] = {}
    if tools:
        readings = read_training(tools, make, tree, setting, force=force, say=say)
    if layer:
        tree, readings = _within(layer, tree, readings)
    return _counts(
        Measure.TRAINING,
        tree,
        tools,
        readings,
        lambda tool, reading: reconcile_macs(
            tree,
            tool.convention(replace(setting, device="cpu") if reading.executed else setting),
            reading,
            Measure.TRAINING,
        ),
        spec={
            **spec.conditions(),
            "batch": workload.batch,
            **({"checkpoint": True} if workload.checkpoint else {}),
        },
        conditions={"dtype": "float32", **setting.conditions()},
        view=view,
        module=facts,
        strict=strict,
    )


def _of_training(names: Iterable[str]) -> list[Tool]:
    """Return the tools with these names; of all of them those that read a training step."""
    names = list(names)
    tools = find_tools(names)
    if ALL in names or set(names) >= set(NAMES):
        return [tool for tool in tools if tool.training is not None]
    return tools


def at_path(tree: Layer, path: str) -> Layer:
    """Return the layer at a path as the root of a tree.

    Raises:
        SpecError: there is none.
    """
    found = tree.at(path)
    if found is None:
        raise unknown("layer", path, (node.path for node in tree.walk(fold=False) if node.path))
    return found


def _within(
    path: str, tree: Layer, readings: Mapping[str, Reading | Unavailable]
) -> tuple[Layer, dict[str, Reading | Unavailable]]:
    """Return the layer at a path, and the readings of it."""
    found = at_path(tree, path)
    # An op is not the root of its tree, but stands below one, by its name.
    ops = {node.path for node in tree.walk(fold=False) if isinstance(node.item, Op)}
    own = path.rpartition(".")[2] if path in ops else ""
    return found, {
        name: said.within(path, own) if isinstance(said, Reading) else said
        for name, said in readings.items()
    }


def captured_facts(
    model: CapturedModel, tree: Layer, batch: int, template: Template
) -> ModuleFacts:
    """Return the facts on a module that was captured, as a template."""
    values = model.sizes_at(batch, template)
    return ModuleFacts(
        varied=tuple(
            Varied(name=one.name, value=values[one.name], step=one.step)
            for one in template.variables
        ),
        names=template.legend(values),
        fixed=template.batch != 0,
        only_batch=template.batch == 0 and not template.variables,
        whole=template.is_whole,
        decided=template.decided,
        unknown=tree.unknown(),
    )


def parameter_facts(model: CapturedModel) -> ModuleFacts:
    """Return the facts on a module whose parameters are counted."""
    from vitprof.captured.parameters import buffers, held_again

    held = held_again(model.module)
    return ModuleFacts(names={}, unknown={}, buffers=buffers(model.module), held_again=held)


def _counts(
    measure: Measure,
    tree: Layer,
    tools: Sequence[Tool],
    readings: Mapping[str, Reading | Unavailable],
    reconcile: Callable[[Tool, Reading], Difference],
    *,
    spec: Mapping[str, Value],
    conditions: Mapping[str, str],
    view: View,
    module: ModuleFacts | None = None,
    strict: bool = False,
) -> Counts:
    """Put the counts of the tools beside that of the formulas, each difference explained."""
    given = {name: said for name, said in readings.items() if isinstance(said, Reading)}
    macs = measure is not Measure.PARAMS
    parts = {part.value: counted(part) for part in Pass} if measure is Measure.TRAINING else {}

    def rows_of(*, fold: bool) -> tuple[Row, ...]:
        return rows(tree, counted(measure), given, fold=fold, levels=view.levels, parts=parts)

    full = rows_of(fold=bool(view.fold))
    return Counts(
        command="macs" if macs else measure.value,
        parts=tuple(parts),
        spec=spec,
        conditions=conditions,
        versions=versions(["torch", *(tool.package for tool in tools)] if tools else []),
        convention=_CONVENTIONS[measure],
        totals=totals(tree, measure),
        headline=HEADLINES[measure],
        not_counted=tree.uncounted() if macs else {},
        fft_flops=tree.fft_flops() if macs else 0,
        counters={name: reading.total for name, reading in given.items()},
        differences={
            tool.name: reconcile(tool, given[tool.name]) for tool in tools if tool.name in given
        },
        unavailable={
            name: said.reason for name, said in readings.items() if isinstance(said, Unavailable)
        },
        notes={name: "; ".join(said.notes) for name, said in given.items() if said.notes},
        tree=full,
        folded=rows_of(fold=True) if view.fold is None else full,
        columns=view.columns,
        by=view.by,
        explains=view.why,
        module=module,
        strict=strict,
    )


def read_view(
    measure: Measure,
    tools: Iterable[str],
    *,
    fold: bool | None,
    levels: int | str | None,
    why: bool,
    columns: Iterable[str] | None,
    by: str | None,
) -> View:
    """Return what a report shows of its counts, checked before they are made.

    Raises:
        SpecError: a column is unknown, or a value is invalid.
    """
    grouped = "" if by is None else BY.read("by", by)
    if grouped and levels is not None:
        raise SpecError(f"by {grouped} sums the layers of all levels; leave out levels")
    return View(
        fold=fold,
        levels=read_levels(levels),
        why=why,
        columns=read_columns(columns, known_columns(measure, tools, grouped)),
        by=grouped,
    )


def read_levels(levels: int | str | None) -> int | None:
    """Return the checked number of levels to show; None for all."""
    return None if levels is None else _LEVELS.read("levels", levels)
