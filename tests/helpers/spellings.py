"""Spellings: every model with every mixer and each of its options, for tests over all.

Sizes are small, odd and unequal, so that swapped axes fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.request.specs import specify_loosely
from vitprof.values.options import Choice, Flag, Value, Whole

Variant = tuple[tuple[str, Value], ...]

SIZES: dict[str, object] = {
    **{"image_size": 9, "patch_size": 3, "channels": 5, "mask_ratio": "0.3", "tokens": 7},
    **{"dim": 12, "depth": 1, "heads": 3, "mlp_ratio": "0.75", "classes": 11},
    **{"decoder_dim": 20, "decoder_depth": 1, "decoder_heads": 5},
}
# Sizes of single models that differ from these: one coarser grid, of 3 x 3 tokens.
OWN_SIZES: dict[str, dict[str, object]] = {
    "pyramid": {"image_size": 12, "patch_size": 2, "depths": (1, 2), "widths": (4, 12)}
    | {"stage_heads": (1, 3)},
}
# Numeric options of the mixers, small enough for every model.
MIXER_SIZES: dict[str, object] = {
    **{"key_depth": 2, "receptive_field": 3, "intra_depth": 1, "projection": 5},
    **{"features": 5, "landmarks": 3, "iterations": 4},
    **{"pool_size": 3, "kernel_size": 3, "sepconv_kernel": 3, "token_hidden": 5},
    **{"reduction": 3},
    **{"window": 3, "gate_ratio": "4", "bias_dim": 2, "expand": 2, "gate_rank": 2},
    **{"latent": 5, "rope_dim": 2, "top_k": 3},
    **{"state": 2, "dt_rank": 3, "conv_width": 3, "channel_ratio": 2},
}
# Numbers other than 1 that are not 0, which stands for none.
SWITCHED_ON = {"sra_pool": 2}
# Flags that require another option.
BESIDE: dict[str, Variant] = {
    "relative_shared": (("relative", "table"),),
    "qk_norm_type": (("qk_norm", True),),
    "window_pad": (("window", 2),),  # of a grid of 3 x 3 tokens
}
# Sizes of a head whose channels can be turned by fours.
TURNED: dict[str, object] = {"dim": 12, "heads": 3}
# Options that give each model a grid for a mixer: nine patches, without prefix tokens.
ON_GRID: dict[str, dict[str, object]] = {
    **{"classifier": {"pool": "mean"}, "layer": {"tokens": 9}, "pyramid": {}},
}
# Options that give each model tokens that three landmarks divide: nine, or six that are kept.
DIVIDED = {**ON_GRID, "mae": {"class_token": False, "mask_ratio": "0.3"}}


@dataclass(frozen=True)
class Spelling:
    """A model, a mixer, and the mixer's options besides its sizes."""

    model: str
    mixer: str
    variant: Variant

    def __str__(self) -> str:
        return "-".join(
            (self.model, self.mixer, *(f"{name}={value}" for name, value in self.variant))
        )

    @property
    def on_grid(self) -> bool:
        """True if the mixer needs a grid."""
        return needs_grid(self.mixer, self.variant)

    @property
    def placed(self) -> bool:
        """True if the mixer needs patches, on a grid or behind prefix tokens."""
        return self.on_grid or needs_patches(self.mixer, self.variant)

    @property
    def divides(self) -> bool:
        """True if an option of the mixer has to divide the tokens."""
        return divides_tokens(self.mixer, self.variant)

    def specify(self, sizes: Mapping[str, object] = MappingProxyType({})) -> Model:
        """Build the model with these sizes, and the sizes above for the rest."""
        needed = needed_options(self.model, self.mixer, self.variant)
        own_sizes = OWN_SIZES.get(self.model, {})
        options = {**SIZES, **own_sizes, **MIXER_SIZES, **needed, **sizes, **dict(self.variant)}
        own = {**MODELS[self.model].declared(), **MIXERS[self.mixer].declared()}
        return specify_loosely(
            self.model,
            mixer=self.mixer,
            options={name: value for name, value in options.items() if name in own},
        )


def needs_grid(mixer: str, variant: Variant = ()) -> bool:
    """Return True if the mixer with these options needs a grid."""
    options: Any = dict(variant)
    return MIXERS[mixer](**options).needs_grid


def needs_patches(mixer: str, variant: Variant = ()) -> bool:
    """Return True if the mixer with these options needs patches, behind any prefix tokens."""
    options: Any = dict(variant)
    return bool(MIXERS[mixer](**options).needs_patches)


def divides_tokens(mixer: str, variant: Variant = ()) -> bool:
    """Return True if an option of the mixer has to divide the tokens."""
    options: Any = dict(variant)
    return MIXERS[mixer](**options).divisor > 1


def needed_options(model: str, mixer: str, variant: Variant = ()) -> dict[str, object]:
    """Return the options of a model that give it the tokens that the mixer needs."""
    if needs_patches(mixer, variant):
        return {**TURNED, **(ON_GRID[model] if model == "layer" else {})}
    if needs_grid(mixer, variant):
        return ON_GRID[model]
    return DIVIDED[model] if divides_tokens(mixer, variant) else {}


def defined(model: str, mixer: str, variant: Variant = ()) -> bool:
    """Return True if the mixer needs no grid or the model can have one."""
    somewhere = needs_grid(mixer, variant) or needs_patches(mixer, variant)
    return model in ON_GRID or not somewhere


def variants(mixer: type[Mixer]) -> list[Variant]:
    """Return the default, each flag inverted, each other choice, and 1 for sizes of 0."""
    found: list[Variant] = [()]
    for name, option in mixer.declared().items():
        default = getattr(mixer(), name)
        if isinstance(option, Flag):
            found.append((*BESIDE.get(name, ()), (name, not default)))
        elif isinstance(option, Choice):
            others = [other for other in option.names if other != default]
            found += [(*BESIDE.get(name, ()), (name, other)) for other in others]
        elif isinstance(option, Whole) and not option.minimum and name not in MIXER_SIZES:
            found.append(((name, SWITCHED_ON.get(name, 1)),))
    return found


SPELLINGS = [
    Spelling(model, mixer, variant)
    for model, mixer in product(MODELS, MIXERS)
    for variant in variants(MIXERS[mixer])
    if defined(model, mixer, variant)
]


def _in_turn() -> Iterator[Spelling]:
    """Yield the reports' mixers in all models, and each other spelling in one model."""
    models: dict[tuple[str, Variant], list[Spelling]] = {}
    for spelling in SPELLINGS:
        models.setdefault((spelling.mixer, spelling.variant), []).append(spelling)
    for turn, ((mixer, variant), spellings) in enumerate(models.items()):
        reported = mixer in ("attn", "lambda", "linear") and not variant
        yield from spellings if reported else [spellings[turn % len(spellings)]]


SOME = list(_in_turn())
