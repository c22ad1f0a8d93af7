"""The models that are laid side by side, each under a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vitprof.errors import SpecError
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.specs import specify


def with_mixers(
    model: str | None, mixers: Iterable[str], options: Mapping[str, object]
) -> dict[str, Model]:
    """A model with each of the mixers, by the mixer's name.

    Args:
        model: the model's name, as `specify` takes it.
        mixers: names; one that comes twice is taken once.
        options: the model's and the mixers'; each mixer takes those that it has.

    Raises:
        SpecError: there is no such model, mixer or option, or no mixer is named.
    """
    named = list(dict.fromkeys(find_mixer(name) for name in mixers))
    if not named:
        raise SpecError(f"no mixer is named; known are {', '.join(MIXERS)}")
    of_model = {name for one in MODELS.values() for name in one.declared()}
    models = {}
    for mixer in named:
        others = {name for other in named for name in other.declared()}
        others -= {*of_model, *mixer.declared()}
        own = {name: value for name, value in options.items() if name not in others}
        models[mixer.name] = specify(model, mixer=mixer.name, options=own)
    return models


def of_presets(
    names: Iterable[str], mixer: str | None, options: Mapping[str, object]
) -> dict[str, Model]:
    """Published configurations, by their names.

    Args:
        names: of presets; one that comes twice is taken once.
        mixer: the mixer of all of them; None leaves each its own.
        options: what is changed in all of them.

    Raises:
        SpecError: there is no such preset, mixer or option.
    """
    return {
        name: specify(mixer=mixer, options={**options, "preset": name})
        for name in dict.fromkeys(names)
    }
