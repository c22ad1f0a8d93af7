"""Polynomials that `vitprof mixers` and `vitprof models` print, parsed and compared."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import sympy
from cases import for_each
from hypothesis import given, settings
from hypothesis import strategies as st

import vitprof
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.report.catalogue import Catalogue
from vitprof.request.specs import specify
from vitprof.values.options import Whole
from vitprof.values.size import Size

all_mixers = vitprof.mixers()
assert isinstance(all_mixers, Catalogue)
MIXER_ENTRIES = {entry.name: entry for entry in all_mixers.entries}
MODEL_ENTRIES = {entry.name: entry for entry in vitprof.models().entries}
SETTINGS = settings(max_examples=10, deadline=None, derandomize=True, database=None)

SYMBOLS: dict[str, Any] = {
    name: sympy.Symbol(name, integer=True, positive=True)
    for name in (
        *("B", "N", "D", "heads", "k", "r"),
        *("depth", "channels", "patch", "patches", "kept", "classes", "decoder_D", "decoder_depth"),
    )
}
B, N, D, h, k, r, depth, C, p, patches, kept, classes, D_dec, depth_dec = SYMBOLS.values()
v = D / h  # channels of a head
# The side of a kernel, of a pooled square, and the width of an MLP across tokens.
SYMBOLS |= {
    name: sympy.Symbol(name, integer=True, positive=True) for name in ("kernel", "pool", "D_S")
}
# Of single mixers, and of a grid.
SYMBOLS |= {
    name: sympy.Symbol(name, integer=True, positive=True) for name in ("rows", "columns", "b")
}
# Random features, and landmarks with the steps towards a pseudo-inverse.
SYMBOLS |= {
    name: sympy.Symbol(name, integer=True, positive=True)
    for name in ("features", "landmarks", "iterations")
}
# Copies of a key and a value; keys and values that the tokens are projected to.
SYMBOLS |= {name: sympy.Symbol(name, integer=True, positive=True) for name in ("u", "p")}
# The side of a window.
SYMBOLS |= {"w": sympy.Symbol("w", integer=True, positive=True)}

_POWERS = {ord(power): f"**{digit}" for digit, power in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}


def read(text: str) -> Any:
    """Parse a printed polynomial as a SymPy expression, in the symbols above only."""
    expression = sympy.sympify(text.replace("×", "*").translate(_POWERS), locals=SYMBOLS)
    assert expression.free_symbols <= {*SYMBOLS.values()}
    return expression


def test_attention_as_printed() -> None:
    # Three projections in and one out, each D × D and a bias; N × N scores, used once.
    assert MIXER_ENTRIES["attn"].params == "4 × D² + 4 × D"
    assert MIXER_ENTRIES["attn"].macs == "4 × B × D² × N + 2 × B × D × N²"


ATTENTION = 3 * (D * D + D) + (D * D + D)
FEATURES, LANDMARKS, STEPS = (SYMBOLS[name] for name in ("features", "landmarks", "iterations"))
SYMBOLS |= {
    name: sympy.Symbol(name, integer=True, positive=True) for name in ("expand", "rank", "latent")
}
SYMBOLS |= {name: sympy.Symbol(name, integer=True, positive=True) for name in ("state", "width")}
EXPAND, RANK, LATENT = SYMBOLS["expand"], SYMBOLS["rank"], SYMBOLS["latent"]
SYMBOLS |= {"ratio": sympy.Symbol("ratio", integer=True, positive=True)}
STATE, WIDTH, RATIO, E = SYMBOLS["state"], SYMBOLS["width"], SYMBOLS["ratio"], EXPAND * D
LAMBDA_U, LINFORMER_P = SYMBOLS["u"], SYMBOLS["p"]
LAMBDA_WIDTH = h * k + LAMBDA_U * (k + v)  # queries of every head, u keys, u values
MIXERS_BY_HAND: dict[str, tuple[Any, Any]] = {
    "attn": (ATTENTION, B * (N * D * 3 * D + h * N * v * N + h * N * N * v + N * D * D)),
    "lambda": (
        D * LAMBDA_WIDTH
        + LAMBDA_WIDTH
        + (2 * h * k + 2 * v * LAMBDA_U)
        + (r * r * LAMBDA_U * k + k),
        # Projection; the content lambda; its use by every head; position lambdas; their use.
        B
        * N
        * (D * LAMBDA_WIDTH + LAMBDA_U * k * v + h * k * v + v * k * r * r * LAMBDA_U + h * k * v),
    ),
    # N × p for the keys and for the values, used on D channels; p scores a token, used once.
    "linformer": (
        ATTENTION + 2 * N * LINFORMER_P,
        B * (N * D * 3 * D + 2 * D * N * LINFORMER_P + 2 * N * LINFORMER_P * D + N * D * D),
    ),
    # Features of a query and of a key; the state, features × v; its sums, and its use.
    "performer": (
        ATTENTION,
        B * N * (D * 3 * D + 2 * h * v * FEATURES + 2 * h * FEATURES * v + h * FEATURES + D * D),
    ),
    # Scores of N × m, m × m and m × N; four products a step; F Z, G V and both together.
    "nystrom": (
        ATTENTION,
        B
        * (
            N * 4 * D * D
            + h * (2 * N * v * LANDMARKS + LANDMARKS * v * LANDMARKS)
            + h * STEPS * 4 * LANDMARKS**3
            + h * (N * LANDMARKS**2 + 2 * LANDMARKS * N * v)
        ),
    ),
    # The scores are v × v over N tokens, and applied to each of them; a temperature a head.
    "xca": (ATTENTION + h, B * N * (4 * D * D + 2 * h * v * v)),
    # In each window w² × w² scores, used once; a bias for each head and offset.
    "window": (
        ATTENTION + h * (2 * SYMBOLS["w"] - 1) ** 2,
        B * (N * D * 3 * D + 2 * N / SYMBOLS["w"] ** 2 * SYMBOLS["w"] ** 4 * D + N * D * D),
    ),
    # 2h matrices of scores over D / 2h channels; four vectors of as many, and a gain of twice that.
    "diff": (
        ATTENTION + 4 * (v / 2) + v,
        B * (N * D * 3 * D + 2 * h * N * N * v / 2 + h * N * N * v + N * D * D),
    ),
    # Queries and keys of D; values, gate and output of E; scores over D, and their use on E.
    "retention": (
        2 * D * D + 3 * D * EXPAND * D,
        B * (N * (2 * D * D + 3 * D * EXPAND * D) + N * N * D + N * N * EXPAND * D),
    ),
    # Queries and keys of D / 2; values, gate and output of D; gates of both directions by a rank;
    # for each direction scores over D / 2, used together on D.
    "gla": (
        4 * D * D + 2 * D * RANK + D + v,
        B * (N * (4 * D * D + 2 * D * RANK) + 2 * N * N * D / 2 + N * N * D),
    ),
    # Queries of d + 8 for each head; the latent and 8 shared channels, and a gain; keys and values
    # of D from it; scores over d + 8, used on d.
    "mla": (
        D * (D + 8 * h) + D * (LATENT + 8) + LATENT + LATENT * 2 * D + D * D,
        B
        * (
            N * (D * (D + 8 * h) + D * (LATENT + 8) + LATENT * 2 * D + D * D)
            + h * N * N * (v + 8)
            + N * N * D
        ),
    ),
    # As attention: the scores that are not used are computed too.
    "topk": (ATTENTION, B * (N * D * 3 * D + 2 * h * N * N * v + N * D * D)),
    # Four layers, a decay and a weight of the token itself, and three mixes.
    "rwkv": (4 * D * D + 5 * D, B * N * 4 * D * D),
    # Two halves of E in and one out; for each direction a convolution, two layers, states and skip.
    "mamba": (
        3 * D * E + 2 * (E * WIDTH + E + E * (RANK + 2 * STATE) + RANK * E + E + E * STATE + E),
        B
        * (
            N * (3 * D * E + 2 * (E * (RANK + 2 * STATE) + RANK * E))
            + 2 * (N + WIDTH - 1) * WIDTH * E
        ),
    ),
    # To the hidden channels and back, a gate, and two mixes.
    "channel-mix": ((2 * RATIO + 1) * D * D + 2 * D, B * N * (2 * RATIO + 1) * D * D),
    "hydra": (ATTENTION, B * N * (D * 3 * D + D * D)),
    # The state is v × v for each head, the normalizer one number for each token and head.
    "linear": (ATTENTION, B * N * (D * 3 * D + h * v * v + h * v + h * v * v + D * D)),
    # 6 D channels, a norm of half of them, N × N across the tokens, and half of them back.
    "gmlp": (
        (D * 6 * D + 6 * D) + 2 * 3 * D + (N * N + N) + (3 * D * D + D),
        B * N * (D * 6 * D + 3 * D * N + 3 * D * D),
    ),
    "fourier": (0, 0),
    # Two numbers for each channel and frequency, of which there are half the columns, rounded
    # down, and one; and N is rows times columns.
    "filter": (D * N - D * SYMBOLS["rows"] * (SYMBOLS["columns"] % 2) + 2 * D * SYMBOLS["rows"], 0),
    # A kernel and a bias for each channel; a kernel at each token.
    "conv": (D * SYMBOLS["kernel"] ** 2 + D, B * N * SYMBOLS["kernel"] ** 2 * D),
    # A layer to E channels and one back, a kernel of each, scale and bias of the activation.
    "sepconv": (
        2 * D * E + SYMBOLS["kernel"] ** 2 * E + 2,
        B * N * (2 * D * E + SYMBOLS["kernel"] ** 2 * E),
    ),
    # A convolution of 2 x 2 and a norm; queries of N tokens, keys and values of a quarter of them.
    "sra": (
        ATTENTION + (4 * D * D + D) + 2 * D,
        B * (2 * N * D * D + N / 4 * (4 * D * D + 2 * D * D) + 2 * N * N / 4 * D),
    ),
    "random": (N * N, B * D * N * N),
    "pool": (0, 0),
    # N × D_S and back, for each channel.
    "token-mlp": (
        (N * SYMBOLS["D_S"] + SYMBOLS["D_S"]) + (SYMBOLS["D_S"] * N + N),
        B * D * (N * SYMBOLS["D_S"] + SYMBOLS["D_S"] * N),
    ),
    "token-linear": (N * N + N, B * D * N * N),
    "identity": (0, 0),
    # Queries, keys and values, a bias for each pair of tokens; N × N with all N × B D, twice.
    "aft": (3 * (D * D + D) + N * N, B * N * D * 3 * D + 2 * N * N * B * D),
}


@for_each("mixer", MIXERS)
def test_mixer_by_hand(mixer: str) -> None:
    params, macs = MIXERS_BY_HAND[mixer]
    assert sympy.expand(read(MIXER_ENTRIES[mixer].params) - params) == 0
    assert sympy.expand(read(MIXER_ENTRIES[mixer].macs) - macs) == 0


def block_params(D: Any) -> Any:
    """Return the parameters of two norms, attention, and an MLP of 4 D channels."""
    return 2 * 2 * D + 4 * (D * D + D) + (D * 4 * D + 4 * D) + (4 * D * D + D)


def block_macs(N: Any, D: Any) -> Any:
    """Return the MACs of attention's four projections and two products, and of the MLP."""
    return 4 * N * D * D + 2 * N * N * D + 2 * N * D * 4 * D


PIXELS = p * p * C
STAGES = ((2, 64), (2, 128), (6, 320), (2, 512))  # depth and width of each
MERGED = [4 * finer * coarser for (_, finer), (_, coarser) in pairwise(STAGES)]
MODELS_BY_HAND: dict[str, tuple[Any, Any]] = {
    "layer": (block_params(D), block_macs(N, D)),
    "classifier": (
        # Patches; class token and positions; blocks; norm and head.
        (PIXELS * D + D)
        + (D + (patches + 1) * D)
        + depth * block_params(D)
        + (2 * D + D * classes + classes),
        patches * PIXELS * D + depth * block_macs(patches + 1, D) + D * classes,
    ),
    "mae": (
        (PIXELS * D + D)
        + depth * block_params(D)
        + (2 * D + D * D_dec + D_dec)
        + depth_dec * block_params(D_dec)
        + (2 * D_dec + D_dec * PIXELS + PIXELS)
        # A token and a table of positions for each stage.
        + (1 + patches + 1) * (D + D_dec),
        patches * PIXELS * D
        + depth * block_macs(kept + 1, D)
        + (kept + 1) * D * D_dec
        + depth_dec * block_macs(patches + 1, D_dec)
        + (patches + 1) * D_dec * PIXELS,
    ),
    "pyramid": (
        # Patches; convolutions of 2 x 2 between stages, with biases; blocks; norm and head.
        (PIXELS * 64 + 64)
        + (sum(MERGED) + 128 + 320 + 512)
        + sum(depth * block_params(D) for depth, D in STAGES)
        + (2 * 512 + 512 * classes + classes),
        # Each stage has a quarter of the tokens of the one before.
        patches * PIXELS * 64
        + sum(weights * patches / 4**stage for stage, weights in enumerate(MERGED, 1))
        + sum(depth * block_macs(patches / 4**stage, D) for stage, (depth, D) in enumerate(STAGES))
        + 512 * classes,
    ),
}


@pytest.mark.parametrize("model", MODELS)
def test_model_by_hand(model: str) -> None:
    params, macs = MODELS_BY_HAND[model]
    assert sympy.expand(read(MODEL_ENTRIES[model].params) - params) == 0
    assert sympy.expand(read(MODEL_ENTRIES[model].macs) - macs) == 0


def at(text: str, values: dict[str, int]) -> Any:
    """Evaluate a printed polynomial."""
    return read(text).subs({SYMBOLS[name]: value for name, value in values.items()})


@pytest.mark.parametrize("name", MIXERS)
@SETTINGS
@given(data=st.data())
def test_mixer_at_any_size(name: str, data: st.DataObject) -> None:
    names = ("B", "rows", "columns", "heads")
    sizes = {symbol: data.draw(st.integers(1, 40), symbol) for symbol in names}
    # Windows cover the grid.
    window = 2 * data.draw(st.integers(0, 2), "half a window") + 1 if name == "window" else 1
    step = 2 if name == "sra" else window  # its reduction, by default, divides the grid
    sizes |= {side: step * sizes[side] for side in ("rows", "columns")}
    sizes["D"] = sizes["heads"] * 2 * data.draw(st.integers(1, 20), "half a head dim")
    whole = {
        option: declared
        for option, declared in MIXERS[name].declared().items()
        if isinstance(declared, Whole) and declared.symbol
    }
    options = {option: data.draw(st.integers(0, 9), option) * 2 + 1 for option in whole}
    options |= {option: window for option in whole if option == "window"}
    sizes["rows"] *= options.get("landmarks", 1)  # which divide the tokens
    sizes["N"] = sizes["rows"] * sizes["columns"]
    values = sizes | {declared.symbol: options[option] for option, declared in whole.items()}
    formula = MIXERS[name](**options).formula(
        MixerSizes(
            tokens=Size(sizes["N"]),
            dim=Size(sizes["D"]),
            heads=Size(sizes["heads"]),
            grid=(Size(sizes["rows"]), Size(sizes["columns"])),
        ),
        Size(sizes["B"]),
    )
    entry = MIXER_ENTRIES[name]
    assert at(entry.params, values) == formula.total(Measure.PARAMS)
    assert at(entry.macs, values) == formula.total(Measure.MACS)


# Meaning of each symbol: an option of the model, or a value derived from its options.
STANDS_FOR = {
    **{"N": "tokens", "D": "dim", "decoder_D": "decoder_dim", "patch": "patch_size"},
    **{name: name for name in ("depth", "decoder_depth", "channels", "classes", "patches", "kept")},
}


@pytest.mark.parametrize("name", MODELS)
@SETTINGS
@given(data=st.data())
def test_model_at_any_size(name: str, data: st.DataObject) -> None:
    def draw(option: str, times: int = 1) -> int:
        return times * data.draw(st.integers(1, 12), option)

    heads, decoder_heads, patch_size = draw("heads"), draw("decoder heads"), draw("patch")
    drawn: dict[str, object] = {
        "tokens": draw("tokens"),
        "patch_size": patch_size,
        "image_size": draw("patches of a side", patch_size * (8 if name == "pyramid" else 1)),
        "channels": draw("channels"),
        "heads": heads,
        "dim": draw("dim", 4 * heads),
        "depth": draw("depth"),
        "decoder_heads": decoder_heads,
        "decoder_dim": draw("decoder dim", 4 * decoder_heads),
        "decoder_depth": draw("decoder depth"),
        "mask_ratio": data.draw(st.sampled_from(["0", "0.3", "0.75"]), "mask ratio"),
        "classes": draw("classes"),
    }
    known = MODELS[name].declared().keys() & drawn.keys()
    model = specify(name, options={option: drawn[option] for option in known})
    values = {
        symbol: getattr(model, attribute)
        for symbol, attribute in STANDS_FOR.items()
        if hasattr(model, attribute)
    }
    entry = MODEL_ENTRIES[name]
    assert at(entry.params, values) == model.formula().total(Measure.PARAMS)
    assert at(entry.macs, values) == model.formula().total(Measure.MACS)
