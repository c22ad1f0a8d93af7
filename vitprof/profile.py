"""The counts of a model beside what the tools say of it: from a request to a report."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from vitprof.counters import NAMES, find_counters
from vitprof.counters.read import Say, read
from vitprof.counters.reading import Counter, Reading, Unavailable
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op, Parameter
from vitprof.options import Whole
from vitprof.report.report import Report
from vitprof.report.rows import rows
from vitprof.specs import specify
from vitprof.version import __version__

BATCH = Whole("images at a time", maximum=1_000_000_000)
_LEVELS = Whole("how deep below the model the rows go", maximum=100)

_CONVENTIONS = {
    Measure.PARAMS: (
        "layers own parameters; tokens and positions are parameters that no layer owns; "
        "fixed parameters are not trained"
    ),
    Measure.MACS: (
        "a MAC is one multiply and one add of a contraction (linear layer, convolution, "
        "matrix product); nothing else is counted; FLOPs = 2 × MACs"
    ),
}


def _quiet(message: str) -> None:
    """Say nothing."""


def params(
    model: str | Model | None = None,
    *,
    mixer: str | None = None,
    counters: Iterable[str] = NAMES,
    fold: bool = False,
    levels: int | str | None = None,
    say: Say = _quiet,
    **options: object,
) -> Report:
    """Count the parameters of a model, layer by layer, beside what the tools say.

    Args:
        model: `mae`, `classifier`, `layer`, or a model that `specify` made.
        mixer: `attn`, `lambda`, `linear`.
        counters: of `analytic`, `torchinfo`, `fvcore`, `torch`; the formulas are always
            there, and alone they import nothing heavy.
        fold: give equal layers one row.
        levels: how deep below the model the rows go.
        say: told what is being done.
        **options: the model's and the mixer's options, `dim=192`; a name that neither
            has is an error.

    Raises:
        SpecError: there is no such model, mixer, option or counter, or a value is wrong.
    """
    spec = specify(model, mixer=mixer, options=options)
    tools = find_counters(counters)
    tree = spec.formula()
    readings = read(tools, Measure.PARAMS, spec, 1, force=False, say=say) if tools else {}
    return _report(Measure.PARAMS, spec, None, tree, tools, readings, fold=fold, levels=levels)


def macs(
    model: str | Model | None = None,
    *,
    mixer: str | None = None,
    batch: int | str = 1,
    counters: Iterable[str] = NAMES,
    force: bool = False,
    fold: bool = False,
    levels: int | str | None = None,
    say: Say = _quiet,
    **options: object,
) -> Report:
    """Count the multiply-accumulates of a forward pass, layer by layer, beside the tools.

    Args:
        model: `mae`, `classifier`, `layer`, or a model that `specify` made.
        mixer: `attn`, `lambda`, `linear`.
        batch: images at a time.
        counters: of `analytic`, `torchinfo`, `fvcore`, `torch`; the formulas are always
            there, and alone they import nothing heavy.
        force: let a tool execute the model whatever that costs.
        fold: give equal layers one row.
        levels: how deep below the model the rows go.
        say: told what is being done.
        **options: the model's and the mixer's options, `dim=192`; a name that neither
            has is an error.

    Raises:
        SpecError: there is no such model, mixer, option or counter, or a value is wrong.
    """
    spec = specify(model, mixer=mixer, options=options)
    images = BATCH.read("batch", batch)
    tools = find_counters(counters)
    tree = spec.formula(images)
    readings = read(tools, Measure.MACS, spec, images, force=force, say=say) if tools else {}
    return _report(Measure.MACS, spec, images, tree, tools, readings, fold=fold, levels=levels)


def _report(
    measure: Measure,
    spec: Model,
    batch: int | None,
    tree: Layer,
    tools: list[Counter],
    readings: dict[str, Reading | Unavailable],
    *,
    fold: bool,
    levels: int | str | None,
) -> Report:
    given = {name: said for name, said in readings.items() if isinstance(said, Reading)}
    macs = measure is Measure.MACS
    return Report(
        command=measure.value,
        spec={**spec.conditions(), **({} if batch is None else {"batch": batch})},
        conditions={"dtype": "float32", **({"mode": "eval", "gradients": "off"} if macs else {})},
        versions=_versions(tools),
        convention=_CONVENTIONS[measure],
        totals=_macs_totals(tree) if macs else _params_totals(tree),
        headline="macs" if macs else "all",
        not_counted=tree.uncounted() if macs else {},
        counters={name: reading.total for name, reading in given.items()},
        unavailable={
            name: said.reason for name, said in readings.items() if isinstance(said, Unavailable)
        },
        notes={name: "; ".join(said.notes) for name, said in given.items() if said.notes},
        tree=rows(
            tree,
            measure,
            given,
            fold=fold,
            levels=None if levels is None else _LEVELS.read("levels", levels),
        ),
    )


def _params_totals(tree: Layer) -> dict[str, int]:
    owned = dict.fromkeys(("layers", "tokens_and_positions", "all", "trainable", "fixed"), 0)
    for node in tree.walk(fold=True):
        if isinstance(node.item, Op):
            count = node.item.params.value * node.repeat
            fixed = isinstance(node.item, Parameter) and not node.item.trained
            unowned = isinstance(node.item, Parameter)
            owned["tokens_and_positions" if unowned else "layers"] += count
            owned["fixed" if fixed else "trainable"] += count
            owned["all"] += count
    return owned


def _macs_totals(tree: Layer) -> dict[str, int]:
    macs = tree.total(Measure.MACS)
    return {"macs": macs, "flops": 2 * macs}


def _versions(tools: list[Counter]) -> dict[str, str]:
    versions = {"vitprof": __version__, "python": platform.python_version()}
    if tools:
        from importlib.metadata import version

        packages = ["torch", *(tool.package for tool in tools)]
        versions |= {package: version(package) for package in dict.fromkeys(packages)}
    return versions
