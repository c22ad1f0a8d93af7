"""Validated models from names and option values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vitprof.errors import SpecError, listing, unknown
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS, find_model
from vitprof.values.options import Options, label_of


def specify(
    model: str | Model | None = None,
    *,
    mixer: str | None = None,
    options: Mapping[str, object] | None = None,
) -> Model:
    """Build a model from names and option values.

    Args:
        model: a model's name, or a model, which is returned unchanged; None for the model of
            the preset, or without one `layer` if `tokens` is given, else `mae`.
        mixer: a mixer's name; None for the mixer of the preset, or `attn` without one.
        options: values of the model's and the mixer's options, by field name; `preset` is the
            name of a published configuration, whose values the other options replace.

    Raises:
        SpecError: a name is unknown, the model or the mixer has no such option, or a
            value is not allowed.
    """
    given = dict(options or {})
    if isinstance(model, Model):
        if given or mixer is not None:
            raise SpecError(
                f"the model is already built, so {listing([*given, 'mixer'])} cannot change it; "
                "give its name instead"
            )
        return model
    name = given.pop("preset", None)
    if name is not None:
        return _from_preset(name, model, mixer, given)
    default = "layer" if "tokens" in given else "mae"
    model_type = find_model(default if model is None else model)
    mixer_type = find_mixer("attn" if mixer is None else mixer)
    return _build(model_type, mixer_type, given)


def _from_preset(
    name: object, model: str | None, mixer: str | None, given: Mapping[str, object]
) -> Model:
    """Build the model of a preset, with options or the mixer replaced by those given."""
    from vitprof.published import find_preset

    if not isinstance(name, str):
        raise SpecError(f"preset is a name in quotes, not {name!r}")
    preset = find_preset(name)
    if model not in (None, preset.model):
        raise SpecError(
            f"preset {name} is a {preset.model}, not a {model}; leave the model out, or take "
            "another preset"
        )
    model_type = find_model(preset.model)
    mixer_type, own = find_mixer(preset.mixer if mixer is None else mixer), preset.options
    if mixer_type.name != preset.mixer:
        own = _subset(own, model_type.declared())
    return replace(_build(model_type, mixer_type, {**own, **given}), preset=name)


def _build(model: type[Model], mixer: type[Mixer], given: Mapping[str, object]) -> Model:
    for name in given:
        _check_option(name, model, mixer)
    return model(
        mixer=mixer(**_subset(given, mixer.declared())),
        **_subset(given, model.declared()),
    )


def _subset(given: Mapping[str, object], names: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in names}


def _check_option(name: str, model: type[Model], mixer: type[Mixer]) -> None:
    if name in model.declared() or name in mixer.declared():
        return
    if name == "tokens":
        raise SpecError(
            f"the tokens of {model.name} follow from image size and patch size; "
            "give those, or take the model layer"
        )
    owners = [*_owners(name, MODELS), *_owners(name, MIXERS)]
    if not owners:
        raise unknown(
            f"option of {model.name} with {mixer.name} named",
            name,
            {**model.declared(), **mixer.declared()},
        )
    raise SpecError(
        f"{label_of(name)} is an option of {listing(owners, 'and')}, "
        f"not of {model.name} with {mixer.name}"
    )


def _owners(name: str, types: Mapping[str, type[Options]]) -> list[str]:
    return [owner for owner, options in types.items() if name in options.declared()]


def described(conditions: Mapping[str, object]) -> str:
    """Return a title for the model that has these conditions."""
    own = f"{conditions['model']} with {conditions['mixer']}"
    return f"{conditions['preset']}, {own}" if "preset" in conditions else own
