"""Counts as polynomials: the ops of a formula evaluated on SymPy symbols."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vitprof.formulas.layer import OF_FORWARD, Layer, Measure
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.model import Model
from vitprof.values.options import Options, Whole
from vitprof.values.size import Size

if TYPE_CHECKING:
    from sympy import Symbol

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def mixer_polynomials(mixer: Mixer) -> dict[Measure, str]:
    """Return a mixer's counts for B images in B, N, D, heads and the symbols of its options.

    On a grid, N is rows times columns.
    """
    B, N, heads, head_dim, D = _symbols("B", "N", "heads", "head_dim", "D")
    rows, columns = _symbols("rows", "columns")
    symbolic = mixer.substitute(**_own_symbols(mixer))
    sizes = MixerSizes(
        tokens=Size(N),
        dim=Size(heads * head_dim),
        heads=Size(heads),
        grid=(Size(rows), Size(columns)),
    )
    # The rows × columns of the grid are the N tokens.
    return _polynomials(
        symbolic.formula(sizes, Size(B)), {head_dim: D / heads}, {rows * columns: N}
    )


def model_polynomials(model: Model) -> dict[Measure, str]:
    """Return a model's counts for one image in the symbols of its widths, depths and tokens.

    Heads cancel if they only divide the channels; ratios keep their values.
    """
    symbols = _own_symbols(model)
    widths = {
        name: kind.multiple_of
        for name, kind in model.declared().items()
        if isinstance(kind, Whole) and kind.multiple_of and not kind.unit
    }
    back = {}
    for dim, heads in widths.items():
        (share,) = _symbols(f"{dim}_share")
        back[share] = symbols[dim] / symbols[heads]
        symbols[dim] = symbols[heads] * share
    derived = {name: _symbols(name)[0] for name in ("patches", "kept") if hasattr(model, name)}
    rows, columns = _symbols("rows", "columns")
    derived["grid"] = None if "tokens" in symbols else (rows, columns)  # N alone gives no grid
    formula = model.substitute(**symbols, **derived).formula()
    areas = {rows * columns: derived["patches"]} if "patches" in derived else {}
    return _polynomials(formula, back, areas)


def _polynomials(
    layer: Layer, back: dict[Symbol, Any], areas: dict[Any, Any]
) -> dict[Measure, str]:
    from sympy import expand, floor

    def exact(count: Any) -> Any:  # every floor division in a formula is exact
        return expand(count).replace(floor, lambda quotient: quotient)

    def polynomial(measure: Measure) -> Any:
        return expand(expand(exact(layer.of_one(measure)).subs(back)).subs(areas))

    return {measure: _spell(polynomial(measure)) for measure in OF_FORWARD}


def _own_symbols(options: Options) -> dict[str, Any]:
    """Return a symbol for each option that has one; decoder heads get another than heads."""
    return {
        name: _symbols(name if name.endswith("heads") else option.symbol.replace(" ", "_"))[0]
        for name, option in options.declared().items()
        if isinstance(option, Whole) and option.symbol
    }


def _symbols(*names: str) -> tuple[Any, ...]:
    from sympy import Symbol

    return tuple(Symbol(name, integer=True, positive=True) for name in names)


def _spell(expression: object) -> str:
    """Return a SymPy expression in the notation of formulas: `4 × D² + 4 × D`."""
    powers = re.sub(r"\*\*(\d+)", lambda power: power[1].translate(_SUPERSCRIPTS), str(expression))
    return powers.replace("*", " × ").replace("/", " / ")
