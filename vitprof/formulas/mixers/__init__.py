"""The token mixers, one file each, and their registry."""

from __future__ import annotations

from vitprof.errors import SpecError, unknown
from vitprof.formulas.hybrid import MIXER_AT, Hybrid, hybrid, names_in
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers.aft import AttentionFree
from vitprof.formulas.mixers.attention import Attention
from vitprof.formulas.mixers.channel_mix import ChannelMix
from vitprof.formulas.mixers.conv import DepthwiseConv
from vitprof.formulas.mixers.diff_attention import DiffAttention
from vitprof.formulas.mixers.filter import Filter
from vitprof.formulas.mixers.fourier import Fourier
from vitprof.formulas.mixers.gated_linear_attention import GatedLinearAttention
from vitprof.formulas.mixers.gmlp import GatedMlp
from vitprof.formulas.mixers.hydra import Hydra
from vitprof.formulas.mixers.identity import Identity
from vitprof.formulas.mixers.lambda_layer import LambdaLayer
from vitprof.formulas.mixers.latent_attention import LatentAttention
from vitprof.formulas.mixers.linear_attention import LinearAttention
from vitprof.formulas.mixers.linformer import Linformer
from vitprof.formulas.mixers.mamba import Mamba
from vitprof.formulas.mixers.nystrom import NystromAttention
from vitprof.formulas.mixers.performer import Performer
from vitprof.formulas.mixers.pool import Pool
from vitprof.formulas.mixers.random import RandomMixing
from vitprof.formulas.mixers.retention import Retention
from vitprof.formulas.mixers.rwkv import Rwkv
from vitprof.formulas.mixers.sepconv import SeparableConv
from vitprof.formulas.mixers.spatial_reduction import SpatialReduction
from vitprof.formulas.mixers.token_linear import TokenLinear
from vitprof.formulas.mixers.token_mlp import TokenMlp
from vitprof.formulas.mixers.topk_attention import TopKAttention
from vitprof.formulas.mixers.window import WindowAttention
from vitprof.formulas.mixers.xca import CrossCovarianceAttention
from vitprof.formulas.plugins import (
    check_mixer,
    describe,
    entry_points,
    load_mixer,
    load_registered,
    name_of,
)
from vitprof.values.options import Flag
from vitprof.values.places import read_places

MIXERS: dict[str, type[Mixer]] = {
    mixer.name: mixer
    for mixer in (
        Attention,
        DiffAttention,
        LatentAttention,
        TopKAttention,
        SpatialReduction,
        LambdaLayer,
        Retention,
        GatedLinearAttention,
        Rwkv,
        ChannelMix,
        Mamba,
        LinearAttention,
        Performer,
        NystromAttention,
        Linformer,
        Hydra,
        CrossCovarianceAttention,
        WindowAttention,
        DepthwiseConv,
        SeparableConv,
        Pool,
        TokenMlp,
        TokenLinear,
        RandomMixing,
        GatedMlp,
        Fourier,
        Filter,
        AttentionFree,
        Identity,
    )
}


def find_mixer(name: str | type[Mixer]) -> type[Mixer]:
    """Return the mixer of this name or alias, or import `package.module:Name`.

    A mixer of another package is added to `MIXERS`. Names with plus signs between are a hybrid,
    whose mixers the blocks have in turn.

    Args:
        name: name, alias or reference; or the class itself.

    Raises:
        SpecError: there is no such mixer, it is none, or its name is taken by another one.
    """
    if not isinstance(name, str):
        if isinstance(name, type) and (issubclass(name, Hybrid) or name in MIXERS.values()):
            return name
        check_mixer(name, f"the mixer {name!r}")
        return _add(name)
    if "+" in name:
        return hybrid(tuple(map(find_mixer, names_in(name))))
    for mixer in MIXERS.values():
        if name in (mixer.name, *mixer.aliases):
            return mixer
    if ":" in name:
        return _add(load_mixer(name))
    registered = entry_points()
    if name not in registered:
        raise unknown("mixer", name, dict.fromkeys((*MIXERS, *registered)))
    return _add(load_registered(registered[name]))


def with_others(mixer: type[Mixer], at: object) -> tuple[type[Mixer], str]:
    """Return a hybrid of a mixer, or of those of a hybrid, and others at single places.

    Args:
        mixer: the mixer of all other blocks.
        at: places and names of the others; see `vitprof.values.places`.

    Returns:
        The hybrid, and the places with the names by which it knows its mixers.

    Raises:
        SpecError: the places cannot be read, or there is no such mixer.
    """
    text = MIXER_AT.read("mixer_at", at)
    places = (read_places(text) if text else None) or []
    found = [(place.word, find_mixer(name)) for place, name in places]
    others = tuple([other for _, other in found])
    made = hybrid(mixer.turns or (mixer,), others)
    named = "; ".join(f"{word}={name_of(other)}" for word, other in found)
    return made, named if issubclass(made, Hybrid) else ""


def find_all_mixers() -> tuple[list[type[Mixer]], list[str]]:
    """Return every mixer, also of other packages, and a sentence for each that cannot be had."""
    left_out = []
    for name, entry in entry_points().items():
        try:
            if describe(find_mixer(name)) != str(entry):
                left_out.append(
                    f"{entry} has the name of another mixer; rename it, or give its reference"
                )
        except SpecError as error:
            left_out.append(str(error))
    return list(MIXERS.values()), left_out


def _add(found: type[Mixer]) -> type[Mixer]:
    """Add a mixer; one that was defined anew, as in a notebook, replaces the one before.

    Raises:
        SpecError: its name, an alias or an option is taken by another mixer.
    """
    others = {
        name: mixer
        for name, mixer in MIXERS.items()
        if (mixer.__module__, mixer.__qualname__) != (found.__module__, found.__qualname__)
    }
    for mixer in others.values():
        shared = {found.name, *found.aliases} & {mixer.name, *mixer.aliases}
        if shared:
            raise SpecError(
                f"{describe(found)} is called {min(shared)}, as another mixer is; rename it"
            )
        for option, declared in found.declared().items():
            other = mixer.declared().get(option)
            if other is not None and isinstance(other, Flag) != isinstance(declared, Flag):
                raise SpecError(
                    f"{describe(found)} has an option {option}, of which {mixer.name} has another "
                    "kind; rename it"
                )
    if MIXERS.get(found.name) is not found:
        MIXERS[found.name] = found
    return found
