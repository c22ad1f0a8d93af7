"""Sweeps with known curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

from vitprof.report.curves import Crossover, Point
from vitprof.report.sweep import Sweep
from vitprof.values.options import Plain

TOKENS = tuple(64 * 2**step for step in range(9))  # 64:16384:x2
Cost = Callable[[str, str, Mapping[str, Any]], int | float | None]


def make(
    cost: Cost,
    *,
    axes: Mapping[str, tuple[Plain, ...]],
    curves: tuple[str, ...],
    measures: tuple[str, ...] = ("macs",),
    crossovers: tuple[Crossover, ...] = (),
    **others: Any,
) -> Sweep:
    """Build a sweep whose values are `cost(measure, curve, place)`."""
    points = []
    for curve in curves:
        for values in product(*axes.values()):
            place = dict(zip(axes, values, strict=True))
            found = {measure: cost(measure, curve, place) for measure in measures}
            reason = "8 heads do not divide it" if None in found.values() else ""
            points.append(Point(curve=curve, at=place, values=found, reason=reason))
    return Sweep(
        spec={"model": "layer", "dim": 128, "heads": 8, "activation": "gelu"},
        workload={"batch": 1, "dtype": "fp32", "checkpoint": False},
        versions={"vitprof": "0.1.0", "python": "3.11.7"},
        convention="MACs are contractions only",
        axes=axes,
        units={option: "pixels" for option in axes if option == "image_size"},
        curves=curves,
        measures=measures,
        points=tuple(points),
        crossovers=crossovers,
        **others,
    )


def crossover(measure: str, at: int | None, value: int | None, **others: Any) -> Crossover:
    """Return a crossover from which lambda is cheaper than attn."""
    given: dict[str, Any] = {
        "measure": measure,
        "option": "tokens",
        "cheaper": "lambda",
        "than": "attn",
        "at": at,
        "searched": (64, 16384),
        "fixed": {},
        "value": value,
    }
    return Crossover(**{**given, **others})


def quadratic_and_linear(measure: str, curve: str, place: Mapping[str, Any]) -> int | None:
    """Build N^2 + 100 N, 500 N and 400 N, which cross at 400 and 300; `linear` has no 512."""
    tokens: int = place["tokens"]
    unit = 4096 if measure == "memory" else 1000
    if curve == "linear" and tokens == 512:
        return None
    of = {"attn": tokens**2 + 100 * tokens, "lambda": 500 * tokens, "linear": 400 * tokens}
    return unit * of[curve]


THREE = make(
    quadratic_and_linear,
    axes={"tokens": TOKENS},
    curves=("attn", "lambda", "linear"),
    measures=("macs", "memory"),
    # From 401 on, 500 N is less than N^2 + 100 N; from 301 on 400 N is.
    crossovers=(
        crossover("macs", 401, 401 * 500 * 1000),
        crossover("macs", 301, 301 * 400 * 1000, cheaper="linear"),
        crossover("macs", 64, 64 * 400 * 1000, cheaper="linear", than="lambda"),
        crossover("memory", 401, 401 * 500 * 4096),
        crossover("memory", None, None, cheaper="attn", than="linear"),
    ),
)
