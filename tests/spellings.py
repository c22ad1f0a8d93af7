"""Every model with every mixer, spelled in every way: what the tests that run over all share.

Sizes are small, odd and unequal, so that none can stand in for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.options import Choice, Flag, Value
from vitprof.specs import specify

SIZES: dict[str, object] = {
    **{"image_size": 9, "patch_size": 3, "channels": 5, "mask_ratio": "0.3", "tokens": 7},
    **{"dim": 12, "depth": 1, "heads": 3, "mlp_ratio": "0.75", "classes": 11},
    **{"decoder_dim": 20, "decoder_depth": 1, "decoder_heads": 5},
}
# Of the mixers' own options, those that are numbers: small ones that every model has room for.
MIXER_SIZES: dict[str, object] = {"key_depth": 2, "receptive_field": 3}
# What a mixer on a grid needs of each model that has one: nine patches, and nothing beside.
ON_GRID: dict[str, dict[str, object]] = {"classifier": {"pool": "mean"}, "layer": {"tokens": 9}}


@dataclass(frozen=True)
class Spelling:
    """A model with a mixer, and what the mixer is told besides its sizes."""

    model: str
    mixer: str
    variant: tuple[tuple[str, Value], ...]

    def __str__(self) -> str:
        return "-".join(
            (self.model, self.mixer, *(f"{name}={value}" for name, value in self.variant))
        )

    def specify(self, sizes: Mapping[str, object] = SIZES) -> Model:
        """The model at these sizes."""
        options = {
            **sizes,
            **MIXER_SIZES,
            **grid_options(self.model, self.mixer),
            **dict(self.variant),
        }
        own = {**MODELS[self.model].declared(), **MIXERS[self.mixer].declared()}
        return specify(
            self.model,
            mixer=self.mixer,
            options={name: value for name, value in options.items() if name in own},
        )


def grid_options(model: str, mixer: str) -> dict[str, object]:
    """The options of a model that give it the grid that a mixer may need."""
    return ON_GRID[model] if MIXERS[mixer].on_grid else {}


def defined(model: str, mixer: str) -> bool:
    """Whether the model can have the grid that the mixer may need."""
    return model in ON_GRID or not MIXERS[mixer].on_grid


def variants(mixer: type[Mixer]) -> list[tuple[tuple[str, Value], ...]]:
    """The mixer as it is, with each switch on, and with each other choice."""
    found: list[tuple[tuple[str, Value], ...]] = [()]
    for name, option in mixer.declared().items():
        if isinstance(option, Flag):
            found.append(((name, True),))
        elif isinstance(option, Choice):
            default = getattr(mixer(), name)
            found += [((name, other),) for other in option.names if other != default]
    return found


SPELLINGS = [
    Spelling(model, mixer, variant)
    for model, mixer in product(MODELS, MIXERS)
    if defined(model, mixer)
    for variant in variants(MIXERS[mixer])
]
