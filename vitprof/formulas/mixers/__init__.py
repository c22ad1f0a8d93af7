"""The token mixers, one file each, and the registry that names them."""

from __future__ import annotations

from vitprof.errors import unknown
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers.attention import Attention
from vitprof.formulas.mixers.lambda_layer import LambdaLayer
from vitprof.formulas.mixers.linear_attention import LinearAttention

MIXERS: dict[str, type[Mixer]] = {
    mixer.name: mixer for mixer in (Attention, LambdaLayer, LinearAttention)
}


def find_mixer(name: str) -> type[Mixer]:
    """Return the mixer of this name or alias.

    Raises:
        SpecError: there is none.
    """
    for mixer in MIXERS.values():
        if name in (mixer.name, *mixer.aliases):
            return mixer
    raise unknown("mixer", name, MIXERS)
