"""The token mixers, one file each, and their registry."""

from __future__ import annotations

from vitprof.errors import SpecError, unknown
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers.aft import AttentionFree
from vitprof.formulas.mixers.attention import Attention
from vitprof.formulas.mixers.conv import DepthwiseConv
from vitprof.formulas.mixers.filter import Filter
from vitprof.formulas.mixers.fourier import Fourier
from vitprof.formulas.mixers.gmlp import GatedMlp
from vitprof.formulas.mixers.hydra import Hydra
from vitprof.formulas.mixers.identity import Identity
from vitprof.formulas.mixers.lambda_layer import LambdaLayer
from vitprof.formulas.mixers.linear_attention import LinearAttention
from vitprof.formulas.mixers.linformer import Linformer
from vitprof.formulas.mixers.nystrom import NystromAttention
from vitprof.formulas.mixers.performer import Performer
from vitprof.formulas.mixers.pool import Pool
from vitprof.formulas.mixers.token_linear import TokenLinear
from vitprof.formulas.mixers.token_mlp import TokenMlp
from vitprof.formulas.mixers.window import WindowAttention
from vitprof.formulas.mixers.xca import CrossCovarianceAttention
from vitprof.formulas.plugins import entry_points, load_mixer

MIXERS: dict[str, type[Mixer]] = {
    mixer.name: mixer
    for mixer in (
        Attention,
        LambdaLayer,
        LinearAttention,
        Performer,
        NystromAttention,
        Linformer,
        Hydra,
        CrossCovarianceAttention,
        WindowAttention,
        DepthwiseConv,
        Pool,
        TokenMlp,
        TokenLinear,
        GatedMlp,
        Fourier,
        Filter,
        AttentionFree,
        Identity,
    )
}


def find_mixer(name: str) -> type[Mixer]:
    """Return the mixer of this name or alias, or import `package.module:Name`.

    A mixer of another package is added to `MIXERS`.

    Raises:
        SpecError: there is no such mixer, or its name is taken by another one.
    """
    for mixer in MIXERS.values():
        if name in (mixer.name, *mixer.aliases):
            return mixer
    reference = name if ":" in name else entry_points().get(name)
    if reference is None:
        raise unknown("mixer", name, MIXERS)
    found = load_mixer(reference)
    if MIXERS.setdefault(found.name, found) is not found:
        raise SpecError(
            f"the mixer {reference!r} is called {found.name}, as another mixer is; rename it"
        )
    return found


def find_all_mixers() -> list[type[Mixer]]:
    """Return every mixer, including those of other packages.

    Raises:
        SpecError: a mixer of another package cannot be imported.
    """
    for name in entry_points():
        find_mixer(name)
    return list(MIXERS.values())
