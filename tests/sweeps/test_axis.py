"""Ranges that an option is swept over, and the places of a grid."""

from __future__ import annotations

from fractions import Fraction

import pytest

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


@pytest.mark.parametrize(
    ("given", "option", "values"),
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
        ("0.1:0.3:+0.1", MLP_RATIO, [Fraction(1, 10), Fraction(1, 5), Fraction(3, 10)]),
        ("1/3,0.5", MLP_RATIO, [Fraction(1, 3), Fraction(1, 2)]),
    ],
)
def test_range(given: object, option: Option, values: list[Number]) -> None:
    assert read_axis("tokens", given, option).values == tuple(values)


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
