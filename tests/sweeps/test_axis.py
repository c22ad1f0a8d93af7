"""Ranges that an option is swept over, and the places of a grid."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import log

import pytest
from cases import for_each
from hypothesis import given
from hypothesis import strategies as st

from vitprof import specify
from vitprof.errors import SpecError
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models.encoder_layer import EncoderLayer
from vitprof.sweeps.axis import Number, read_axis
from vitprof.sweeps.points import places, read_axes
from vitprof.values.options import Option

TOKENS = EncoderLayer.declared()["tokens"]
MLP_RATIO = EncoderLayer.declared()["mlp_ratio"]
FIELD = MIXERS["lambda"].declared()["receptive_field"]


@for_each(
    "words, option, values",
    [
        ("64:16384:x2", TOKENS, [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]),
        ("64:1000:x3", TOKENS, [64, 192, 576]),
        ("64:96:x1.5", TOKENS, [64, 96]),
        ("64:256:+64", TOKENS, [64, 128, 192, 256]),
        ("64:255:64", TOKENS, [64, 128, 192]),
        ("7:7:x2", TOKENS, [7]),
        ("64,65,400", TOKENS, [64, 65, 400]),
        ("1,2:16:x2,17", TOKENS, [1, 2, 4, 8, 16, 17]),
        ("50", TOKENS, [50]),
        ((3, 5), TOKENS, [3, 5]),
        (range(3, 9, 2), TOKENS, [3, 5, 7]),
        (50, TOKENS, [50]),
        ("3:9:+2", FIELD, [3, 5, 7, 9]),
        ("2:4:+0.5", MLP_RATIO, [2, Fraction(5, 2), 3, Fraction(7, 2), 4]),
        ("0.1:0.3:+0.1", MLP_RATIO, [0.1, 0.2, 0.3]),
        ("1:2:x1.1", MLP_RATIO, [1, 1.1, 1.21, 1.331, 1.464, 1.611, 1.772, 1.949]),
        ("0.25:4:x2", MLP_RATIO, [0.25, 0.5, 1, 2, 4]),
        ("1.2345678:4:x2", MLP_RATIO, [1.2345678, 2.4691356]),
        ("100:100.5:x1.001", MLP_RATIO, [100, 100.1, 100.2, 100.3, 100.4]),
        ("1/3,0.5", MLP_RATIO, [Fraction(1, 3), Fraction(1, 2)]),
    ],
)
def test_range(words: object, option: Option, values: list[Number]) -> None:
    assert read_axis("tokens", words, option).values == tuple(values)


@given(
    st.decimals("0.001", 900, places=3),
    st.decimals("1.0005", 3, places=4),
    st.integers(1, 5),
)
def test_values_by_a_factor_are_distinct_and_end_where_given(
    first: Decimal, factor: Decimal, steps: int
) -> None:
    exact = [first * factor**step for step in range(steps + 1)]
    if exact[-1] >= 1000:
        return
    values = read_axis("mlp_ratio", f"{first:f}:{exact[-1]:f}:x{factor}", MLP_RATIO).values
    assert values[0] == float(first)
    assert values[-1] == float(exact[-1])
    assert len(values) == len(exact) == len({*values})
    digits = max(4, 1 - (factor - 1).adjusted() + 1)
    assert all(
        abs(Decimal(str(float(value))) / one - 1) <= Decimal(10) ** (1 - digits)
        for value, one in zip(values, exact, strict=True)
    )


@pytest.mark.parametrize("text", ["1:1000:x1.001", "1:999:x1.0001", "0.001:999:x1.5"])
def test_long_range_of_ratios(text: str) -> None:
    first, last, factor = text.split(":")
    values = read_axis("mlp_ratio", text, MLP_RATIO).values
    number = 1 + int(log(float(last) / float(first)) / log(float(factor[1:])))
    assert len(values) == number
    assert all(len(str(float(value)).replace(".", "").strip("0")) <= 6 for value in values)
    with pytest.raises(SpecError, match="has more than 12 values, and --max-points is 12"):
        read_axis("mlp_ratio", text, MLP_RATIO, most=12)


def test_any_number_of_points_in_python() -> None:
    (axis,) = read_axes([EncoderLayer()], {"tokens": "1:20000:+1"})
    assert len(axis.values) == 20_000
    with pytest.raises(SpecError, match="20,000 values"):
        read_axes([EncoderLayer()], {"tokens": "1:20000:+1"}, most=19_999)


def test_places() -> None:
    axes = read_axes([EncoderLayer()], {"tokens": "4,8", "mlp_ratio": "0.5:1:+0.5"})
    assert [*places(axes)] == [
        {"tokens": 4, "mlp_ratio": Fraction(1, 2)},
        {"tokens": 4, "mlp_ratio": 1},
        {"tokens": 8, "mlp_ratio": Fraction(1, 2)},
        {"tokens": 8, "mlp_ratio": 1},
    ]
    model = specify("layer", mixer="lambda").at({"tokens": 9, "key_depth": 3, "kv_heads": 2})
    assert model == specify("layer", mixer="lambda", options={"tokens": 9, "key_depth": 3})
