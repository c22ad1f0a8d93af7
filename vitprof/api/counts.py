"""`vitprof.params` and `vitprof.macs`: count a model, and explain the counts of other tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vitprof.counters import NAMES, find_tools
from vitprof.counters.convention import Setting
from vitprof.counters.read import read_macs, read_params
from vitprof.counters.reading import Reading, Tool, Unavailable
from vitprof.counters.reconcile import reconcile_macs, reconcile_params
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.formulas.totals import HEADLINES, totals
from vitprof.progress import Say, quiet
from vitprof.report.counts import Counts
from vitprof.report.rows import counted, rows
from vitprof.request.specs import specify
from vitprof.request.workload import BATCH
from vitprof.values.options import Whole
from vitprof.version import versions

_LEVELS = Whole("levels of layers to show", maximum=100)

_PARAMS_CONVENTION = (
    "layers own parameters, and are all that torchinfo before 1.7 counted; tokens and "
    "positions are parameters that no layer owns; fixed parameters are not trained"
)
_MACS_CONVENTION = (
    "a MAC is one multiply and one add of a contraction (linear layer, convolution, "
    "matrix product); nothing else is counted; FLOPs = 2 × MACs"
)


def params(
    model: str | Model | None = None,
    *,
    mixer: str | None = None,
    counters: Iterable[str] = NAMES,
    fold: bool = False,
    levels: int | str | None = None,
    why: bool = False,
    say: Say = quiet,
    **options: object,
) -> Counts:
    """Count the parameters of a model, layer by layer, beside the counts of other tools.

    Args:
        model: a name that `vitprof models` lists, or a model made by `specify`.
        mixer: a name that `vitprof mixers` lists.
        counters: any of `analytic`, `torchinfo`, `fvcore`, `torch`; `analytic`, the formulas,
            is always included, and alone it does not import PyTorch.
        fold: show equal layers in one row.
        levels: levels of layers to show; None for all.
        why: list every cause of every difference in the report.
        say: called with a message on the current progress.
        **options: options of the model and the mixer, such as `dim=192`; an unknown name is an
            error.

    Raises:
        SpecError: a model, mixer, option or counter is unknown, or a value is invalid.
    """
    spec = specify(model, mixer=mixer, options=options)
    tools = find_tools(counters)
    tree = spec.formula()
    readings = read_params(tools, spec, say=say) if tools else {}
    given = _given(readings)
    return Counts(
        command="params",
        spec=spec.conditions(),
        conditions={"dtype": "float32"},
        versions=versions(_packages(tools)),
        convention=_PARAMS_CONVENTION,
        totals=totals(tree, Measure.PARAMS),
        headline=HEADLINES[Measure.PARAMS],
        not_counted={},
        fft_flops=0,
        counters={name: reading.total for name, reading in given.items()},
        differences={
            tool.name: reconcile_params(tree, tool, given[tool.name])
            for tool in tools
            if tool.name in given
        },
        unavailable=_reasons(readings),
        notes=_notes(given),
        tree=rows(tree, counted(Measure.PARAMS), given, fold=fold, levels=read_levels(levels)),
        explains=why,
    )


def macs(
    model: str | Model | None = None,
    *,
    mixer: str | None = None,
    batch: int | str = 1,
    counters: Iterable[str] = NAMES,
    device: str = "meta",
    train: bool = False,
    grad: bool = False,
    force: bool = False,
    fold: bool = False,
    levels: int | str | None = None,
    why: bool = False,
    say: Say = quiet,
    **options: object,
) -> Counts:
    """Count the multiply-accumulates of a forward pass, layer by layer, beside other tools.

    Args:
        model: a name that `vitprof models` lists, or a model made by `specify`.
        mixer: a name that `vitprof mixers` lists.
        batch: images per forward pass.
        counters: any of `analytic`, `torchinfo`, `fvcore`, `torch`; `analytic`, the formulas,
            is always included, and alone it does not import PyTorch.
        device: device of the model that the tools read: `meta`, on which no kernel runs, or
            `cpu`.
        train: put the model in train mode instead of eval mode.
        grad: enable gradients.
        force: run a tool that executes the model even if the model is very large.
        fold: show equal layers in one row.
        levels: levels of layers to show; None for all.
        why: list every cause of every difference in the report.
        say: called with a message on the current progress.
        **options: options of the model and the mixer, such as `dim=192`; an unknown name is an
            error.

    Raises:
        SpecError: a model, mixer, option or counter is unknown, or a value is invalid.
    """
    spec = specify(model, mixer=mixer, options=options)
    images = BATCH.read("batch", batch)
    setting = Setting(device=device, train=train, grad=grad)
    tools = find_tools(counters)
    tree = spec.formula(images)
    readings = read_macs(tools, spec, images, setting, force=force, say=say) if tools else {}
    given = _given(readings)
    return Counts(
        command="macs",
        spec={**spec.conditions(), "batch": images},
        conditions={"dtype": "float32", **setting.conditions()},
        versions=versions(_packages(tools)),
        convention=_MACS_CONVENTION,
        totals=totals(tree, Measure.MACS),
        headline=HEADLINES[Measure.MACS],
        not_counted=tree.uncounted(),
        fft_flops=tree.fft_flops(),
        counters={name: reading.total for name, reading in given.items()},
        differences={
            tool.name: reconcile_macs(tree, tool.convention(setting), given[tool.name])
            for tool in tools
            if tool.name in given
        },
        unavailable=_reasons(readings),
        notes=_notes(given),
        tree=rows(tree, counted(Measure.MACS), given, fold=fold, levels=read_levels(levels)),
        explains=why,
    )


def _given(readings: Mapping[str, Reading | Unavailable]) -> dict[str, Reading]:
    return {name: said for name, said in readings.items() if isinstance(said, Reading)}


def _reasons(readings: Mapping[str, Reading | Unavailable]) -> dict[str, str]:
    return {name: said.reason for name, said in readings.items() if isinstance(said, Unavailable)}


def _notes(readings: Mapping[str, Reading]) -> dict[str, str]:
    return {name: "; ".join(said.notes) for name, said in readings.items() if said.notes}


def read_levels(levels: int | str | None) -> int | None:
    """Return the checked number of levels to show; None for all."""
    return None if levels is None else _LEVELS.read("levels", levels)


def _packages(tools: list[Tool]) -> list[str]:
    return ["torch", *(tool.package for tool in tools)] if tools else []
