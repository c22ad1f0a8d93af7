"""Crossovers of a sweep, against all points of its ranges."""

from __future__ import annotations

from typing import Any

import vitprof


def test_crossings_are_where_the_points_cross() -> None:
    """Compare each crossover with all points of the range."""
    found = vitprof.sweep(
        "layer",
        mixers=["attn", "lambda", "linear"],
        measures=["macs", "memory"],
        heads=2,
        tokens="2:100:+1",
        dim="8,16",
    )
    values = {
        (point.curve, point.at["tokens"], point.at["dim"]): point.values for point in found.points
    }
    assert {crossover.option for crossover in found.crossovers} == {"tokens"}
    begun = 0
    for crossover in found.crossovers:
        dim, measure = crossover.fixed["dim"], crossover.measure
        assert crossover.searched == (2, 100)

        def cheaper(tokens: int, crossover: Any = crossover, dim: Any = dim) -> bool:
            one = values[crossover.cheaper, tokens, dim][crossover.measure]
            other = values[crossover.than, tokens, dim][crossover.measure]
            assert one is not None
            assert other is not None
            return one < other

        if crossover.at is None:
            assert not any(cheaper(tokens) for tokens in range(2, 101))
            continue
        assert cheaper(crossover.at)
        assert crossover.at == 2 or not cheaper(crossover.at - 1)
        assert crossover.value == values[crossover.cheaper, crossover.at, dim][measure]
        begun += crossover.at > 2
    assert begun > 3


def test_no_crossings_along_a_ratio() -> None:
    found = vitprof.sweep(
        "layer", mixers=["attn", "linear"], measures=["macs"], mlp_ratio="1:4:+0.5"
    )
    assert len(found.points) == 2 * 7
    assert found.crossovers == ()
