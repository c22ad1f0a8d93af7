"""Formula tree against the torch module, path by path, on the meta device.

Sizes are drawn odd and unequal, so that swapped axes fail.
"""

from __future__ import annotations

from math import gcd

import pytest
from against_modules import CHECKS
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from spellings import SOME, Spelling

from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.formulas.parts.activations import ACTIVATIONS
from vitprof.values.options import divisors


@st.composite
def models(draw: st.DrawFn, spelling: Spelling) -> Model:
    """Draw a model of odd sizes; on a grid, of sizes that a window of 3 divides.

    Landmarks divide the tokens of every stage.
    """
    heads, decoder_heads = draw(st.permutations([1, 3, 5]))[:2]
    # Sines and cosines of two axes come in fours, the halves of a head in twos.
    in_fours = spelling.model == "mae" or spelling.placed
    step = 4 if in_fours else 2 if MIXERS[spelling.mixer].halves_heads else 1
    patch_size = draw(st.sampled_from([1, 2, 3]))
    patches_only = spelling.on_grid or spelling.divides
    side = draw(st.sampled_from([3, 6] if patches_only else [1, 5, 7]))
    masks = ["0", "0.3", "0.75"] if patches_only else ["0", "0.3", "0.75", "0.99"]
    drawn: dict[str, object] = {
        "patch_size": patch_size,
        "image_size": patch_size * side,
        "channels": draw(st.sampled_from([1, 3])),
        "tokens": side**2 if patches_only or spelling.placed else draw(st.sampled_from([1, 2, 37])),
        "dim": heads * step * draw(st.sampled_from([1, 7, 11])),
        "heads": heads,
        "depth": draw(st.integers(1, 3)),
        "decoder_dim": decoder_heads * step * draw(st.sampled_from([1, 13, 17])),
        "decoder_heads": decoder_heads,
        "decoder_depth": draw(st.integers(1, 3)),
        "mlp_ratio": draw(st.sampled_from(["1", "2.7", "4"])),
        "mask_ratio": draw(st.sampled_from(masks)),
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "pool": "mean" if patches_only else draw(st.sampled_from(["token", "mean"])),
        "classes": draw(st.sampled_from([1, 19])),
        "key_depth": draw(st.sampled_from([1, 23])),
        "receptive_field": draw(st.sampled_from([1, 3, 29])),
    }
    if spelling.model == "pyramid":  # two stages, of which the second has a side of half as many
        drawn["image_size"] = patch_size * 2 * side
        drawn["depths"] = [draw(st.integers(1, 3)) for _ in range(2)]
        drawn["stage_heads"] = (heads, decoder_heads)
        widths = (heads * step * draw(st.sampled_from([1, 7])), decoder_heads * step * 3)
        drawn["widths"] = widths
    if spelling.divides:
        stages = spelling.specify({**drawn, "landmarks": 1}).stages
        common = gcd(*(stage.block.sizes.tokens.value for stage in stages))
        drawn["landmarks"] = draw(st.sampled_from(divisors(common)))
    return spelling.specify(drawn)


# No shrinking: a drawn model is small as it is.
@pytest.mark.parametrize("spelling", SOME, ids=str)
@settings(max_examples=1, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(data=st.data())
def test_the_formulas_are_the_modules(data: st.DataObject, spelling: Spelling) -> None:
    assert len(CHECKS) == 8
    model = data.draw(models(spelling))
    for check in CHECKS:
        check(model)
