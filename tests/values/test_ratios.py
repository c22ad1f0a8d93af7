"""Ratios: a decimal is the nearest double, as PyTorch code has it; a fraction is exact."""

from __future__ import annotations

import json
import tomllib
from fractions import Fraction
from math import floor
from typing import Any

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from vitprof import specify
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.models.encoder_layer import EncoderLayer
from vitprof.sweeps.arrays import counts
from vitprof.values.options import plain
from vitprof.values.ratios import read_ratio, rounded_down

dims = st.integers(1, 1_000_000)
widths = st.integers(1, 100_000)


def hidden(dim: int, mlp_ratio: object, **options: object) -> int:
    model = specify("layer", options={"dim": dim, "heads": 1, "mlp_ratio": mlp_ratio, **options})
    return model.stages[0].block.hidden


@pytest.mark.parametrize(
    ("dim", "ratio", "width"),
    [
        (768, "10.666666666666666", 8192),  # as Python prints 8192/768, which is less than 32/3
        (768, 10.666666666666666, 8192),
        (768, 8192 / 768, 8192),
        (768, "32/3", 8192),
        (768, Fraction(32, 3), 8192),
        (768, Fraction("10.666666666666666"), 8191),  # exactly that decimal
        (1536, "5.833333333333333", 8960),
        (100, "0.29", 28),  # 28.999999999999996, while 29/100 of 100 is 29
        (100, "29/100", 29),
        (1024, 4 * 2 / 3, 2730),  # EVA-02
        (768, 4 * 2 / 3, 2048),
        (768, 4, 3072),
        (768, "4.0", 3072),
        (768, "2.5", 1920),
    ],
)
def test_width(dim: int, ratio: object, width: int) -> None:
    assert hidden(dim, ratio) == width


@given(dims, widths)
def test_width_of_a_decimal_is_that_of_timm(dim: int, width: int) -> None:
    ratio = width / dim
    if not 0.001 <= ratio < 1000 or int(dim * ratio) < 1:
        return
    assert hidden(dim, ratio) == hidden(dim, repr(ratio)) == int(dim * ratio)
    assert hidden(dim, Fraction(width, dim)) == hidden(dim, f"{width}/{dim}") == width


@given(
    st.one_of(
        st.floats(0.001, 999),
        st.fractions(Fraction(1, 1000), 999, max_denominator=10**6),
        st.decimals("0.001", 999, places=3).map(str),
    )
)
def test_ratio_is_read_again_from_json_and_toml(value: object) -> None:
    ratio = read_ratio(value)
    shown = plain(ratio)
    for again in (json.loads(json.dumps(shown)), tomllib.loads(f"x = {json.dumps(shown)}")["x"]):
        same = read_ratio(again)
        assert (same, type(same)) == (ratio, type(ratio))


@pytest.mark.parametrize(
    ("value", "shown"),
    [("27/10", "27/10"), (2.7, 2.7), ("2.7", 2.7), ("5/2", 2.5), ("2.50", 2.5), ("8/2", 4)],
)
def test_ratio_in_json(value: object, shown: object) -> None:
    assert plain(read_ratio(value)) == shown


@pytest.mark.parametrize("value", [True, "nan", float("nan"), "", "1/0", "0x3", "x", None, 1j])
def test_no_ratio(value: object) -> None:
    with pytest.raises(SpecError, match=r"^mlp ratio .* is not a number; give a number from"):
        hidden(64, value)


@pytest.mark.parametrize(
    "value", [float("inf"), "1e400", "9" * 400 + ".5", "0.00099", 1000, "1e-999", -1.5]
)
def test_ratio_out_of_range(value: object) -> None:
    with pytest.raises(SpecError, match=r"^mlp ratio .* is out of range; give a number from"):
        hidden(64, value)


@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=6, unique=True).map(sorted),
    st.lists(
        st.one_of(st.floats(0.01, 20), st.fractions(Fraction(1, 99), 20, max_denominator=99)),
        min_size=1,
        max_size=6,
        unique_by=float,
    ).map(sorted),
)
def test_arrays_round_as_numbers_do(dims: list[int], ratios: list[Any]) -> None:
    model = specify("layer", mixer="identity", options={"heads": 1})
    found = counts(model, {"dim": dims, "mlp_ratio": ratios}, Measure.PARAMS)
    for row, dim in zip(found.tolist(), dims, strict=True):
        for count, ratio in zip(row, ratios, strict=True):
            exact = floor(dim * ratio) if isinstance(ratio, Fraction) else int(dim * ratio)
            # D -> hidden -> D with biases, and two norms
            assert count == (2 * dim * exact + exact + dim + 4 * dim if exact else None)


def test_symbols_need_an_exact_ratio() -> None:
    D = sympy.Symbol("D", integer=True, positive=True)
    widths: Any = D
    assert rounded_down(widths, read_ratio("2.5")) == sympy.floor(5 * D / 2)
    assert rounded_down(widths, read_ratio("32/3")) == sympy.floor(32 * D / 3)
    with pytest.raises(SpecError, match=r"^10\.666666666666666 is .*; give a .*, such as 32/3$"):
        rounded_down(widths, read_ratio("10.666666666666666"))
    model: Any = EncoderLayer(mlp_ratio=read_ratio("2.7")).substitute(dim=D, heads=1)
    with pytest.raises(SpecError, match=r"no formula in symbols is exact; .* 27/10"):
        model.formula()


@pytest.mark.parametrize(
    ("dim", "ratio", "multiple", "width"),
    [
        (4096, "8/3", 256, 43 * 256),  # LLaMA 7B: 10,922 up to 11,008
        (5120, "8/3", 256, 54 * 256),  # 13B: 13,653 up to 13,824
        (768, "8/3", 8, 2048),  # 2,048 is a multiple
        (7, "1/7", 64, 64),
    ],
)
def test_width_up_to_a_multiple(dim: int, ratio: str, multiple: int, width: int) -> None:
    assert hidden(dim, ratio, mlp_multiple=multiple) == width == -(-width // multiple) * multiple


def test_width_itself() -> None:
    layer = specify("layer", options={"dim": 64, "mlp_hidden": 77})
    assert layer.formula().total(Measure.PARAMS) == (
        specify("layer", mixer="attn").formula().total(Measure.PARAMS) - (256 - 77) * (2 * 64 + 1)
    )
    encoder, decoder = specify("mae", options={"mlp_hidden": 77, "mlp_ratio": 3}).stages
    assert (encoder.block.hidden, decoder.block.hidden) == (77, 3 * 512)
    encoder, decoder = specify("mae", options={"decoder_mlp_hidden": 77}).stages
    assert (encoder.block.hidden, decoder.block.hidden) == (4 * 128, 77)


@pytest.mark.parametrize(
    ("patches", "ratio", "kept"),
    [(100, "0.9", 9), (100, "9/10", 10), (196, "0.75", 49), (1024, 0.75, 256), (64, "2/3", 21)],
)
def test_kept_patches(patches: int, ratio: object, kept: int) -> None:
    size = 8 * int(patches**0.5)
    model: Any = specify("mae", options={"image_size": size, "mask_ratio": ratio})
    assert model.patches == patches
    assert model.kept == kept  # int(patches * (1 - ratio)); of 0.9 that is int(9.999999999999998)
