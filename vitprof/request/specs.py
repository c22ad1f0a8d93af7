"""Validated models from names and option values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from vitprof.captured.given import Given
from vitprof.captured.libraries import find_source
from vitprof.captured.subject import CapturedModel
from vitprof.errors import SpecError, listing, unknown
from vitprof.formulas.hybrid import names_in
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.mixers import with_others as mixer_with_others
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS, find_model
from vitprof.formulas.plugins import name_of
from vitprof.request.effects import check_effects
from vitprof.request.names import named
from vitprof.text import quoted
from vitprof.values.options import Options, Value, Wholes, label_of, plain

if TYPE_CHECKING:
    from torch import nn

# Options of which a list of numbers is one value, not several.
OF_STAGES = frozenset(
    name
    for owner in (*MODELS.values(), *MIXERS.values())
    for name, option in owner.declared().items()
    if isinstance(option, Wholes)
)


def subject(
    model: str | Model | CapturedModel | nn.Module | None = None,
    inputs: object = None,
    *,
    mixer: str | type[Mixer] | None = None,
    options: Mapping[str, object] | None = None,
    called: bool = True,
    trusted: bool = True,
) -> tuple[Model | CapturedModel, int | None]:
    """Return a model, or a module of any origin, and the batch that its inputs have.

    Args:
        model: a model's name, a model, a module, or what this function returned.
        inputs: what a given module is called with.
        mixer: a mixer's name, reference or class.
        options: options of the model and the mixer; or `module`, a reference, with `arg` and
            `input`, lists of words as on the command line, or tables of values by name.
        called: True if inputs are needed, since the module is called.
        trusted: True if the names come from the user, so that code of a package or a file may be
            run; False if they were read in a file.

    Raises:
        SpecError: the model or the module cannot be had, an option does not fit it, or code is
            named that is not trusted.
    """
    given = dict(options or {})
    if isinstance(model, CapturedModel):
        changes = [*given, *["inputs"] * (inputs is not None), *["mixer"] * (mixer is not None)]
        if changes:
            raise SpecError(
                f"the module is already looked up, so {listing(changes, 'and')} cannot change it; "
                "give its reference instead"
            )
        return model, None
    reference = given.pop("module", None)
    words: dict[str, object] = {name: given.pop(name) for name in ("arg", "input") if name in given}
    is_module = model is not None and not isinstance(model, str | Model)
    if reference is None and not is_module:
        if words or inputs is not None:
            raise SpecError(
                f"{listing([*words] or ['inputs'], 'and')} is of a module; give --module, or leave "
                "it out"
            )
        for name in names_in(mixer, given.get("mixer_at")):
            if ":" in name and not trusted:
                raise SpecError(
                    f"the mixer {name} would run code of {name.partition(':')[0]}, and a file of "
                    "models is only data; add --trust if you trust that code"
                )
        own = model if isinstance(model, str | Model) else None
        return specify(own, mixer=mixer, options=given), None
    others = [*(["model"] if model is not None and reference is not None else [])]
    others += [*(["mixer"] if mixer is not None else []), *given]
    if others:
        raise SpecError(
            f"{label_of(others[0])} is an option of vitprof's own models, not of a module; leave "
            "it out, or give an argument of the module by --arg"
        )
    if is_module:
        return _given(model, inputs, words, called=called)
    if not isinstance(reference, str):
        raise SpecError(
            f"module is a reference in quotes, not {type(reference).__name__}; give a module "
            "itself as the first argument"
        )
    args, shapes = (_words(name, words.get(name, ())) for name in ("arg", "input"))
    source = find_source(reference, args=args, inputs=shapes, trusted=trusted, called=called)
    if inputs is None:
        return CapturedModel(source), None
    raise SpecError(
        "inputs are those of a module that is given; a reference takes input=['3x32x32']"
    )


def _given(
    model: object, inputs: object, words: Mapping[str, object], *, called: bool
) -> tuple[CapturedModel, int | None]:
    from torch import nn

    if not isinstance(model, nn.Module):
        raise SpecError(
            f"model is a name, a model or a torch.nn.Module, not of type {type(model).__name__}; "
            "give one of them"
        )
    if "arg" in words:
        raise SpecError("arg is of a module that is named; a module that is given has its own")
    if inputs is None:
        inputs = tuple(_words("input", words.get("input", ())))
    source = Given(model, inputs, called=called)
    return CapturedModel(source), source.batch


def _words(name: str, value: object) -> Sequence[str]:
    """Return a list of words; a single word is one, and a dict is words with keys."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [*_keyed(name, value)]
    if isinstance(value, Sequence) and all(isinstance(one, str) for one in value):
        return list(value)
    raise SpecError(f"{name} is words in a list, such as ['width=64'], not {quoted(value)}")


def _keyed(name: str, table: Mapping[object, object], prefix: str = "") -> Iterator[str]:
    """Yield the values of a table as words with keys; those of a table within have dots."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _keyed(name, value, f"{prefix}{key}.")
        elif _is_plain(value):
            yield f"{prefix}{key}={value}"
        else:
            raise SpecError(
                f"{name} {prefix}{key} is a number, text, true, false or a list of them, not "
                f"{quoted(value)}"
            )


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def specify(
    model: str | Model | None = None,
    *,
    mixer: str | type[Mixer] | None = None,
    options: Mapping[str, object] | None = None,
) -> Model:
    """Build a model from names and option values.

    Args:
        model: a model's name, or a model, which is returned unchanged; None for the model of
            the preset, or without one `layer` if `tokens` is given, else `mae`.
        mixer: a mixer's name, reference or class; None for the mixer of the preset, or `attn`
            without one.
        options: values of the model's and the mixer's options, by field name; `preset` is the
            name of a published configuration, whose values the other options replace.

    Raises:
        SpecError: a name is unknown, the model or the mixer has no such option, a value is
            not allowed, or an option has no effect with the others.
    """
    built = specify_loosely(model, mixer=mixer, options=options)
    check_effects([built], options or {})
    return built


def specify_loosely(
    model: str | Model | None = None,
    *,
    mixer: str | type[Mixer] | None = None,
    options: Mapping[str, object] | None = None,
) -> Model:
    """Build a model as `specify` does; an option may have no effect on it.

    Raises:
        SpecError: as `specify`, except for that.
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
    model_type = named(find_model, default if model is None else model)
    mixer_type = named(find_mixer, "attn" if mixer is None else mixer)
    return _build(model_type, mixer_type, given)


def with_others(mixer: type[Mixer], options: dict[str, object]) -> type[Mixer]:
    """Return the mixer with those that options have at single places, and name them alike there.

    Raises:
        SpecError: the places cannot be read, or there is no such mixer.
    """
    at = options.pop("mixer_at", "")
    made, places = named(partial(mixer_with_others, mixer), at)
    if places:
        options["mixer_at"] = places
    return made


def _from_preset(
    name: object, model: str | None, mixer: str | type[Mixer] | None, given: Mapping[str, object]
) -> Model:
    """Build the model of a preset, with options or the mixer replaced by those given."""
    from vitprof.published import find_preset

    if not isinstance(name, str):
        raise SpecError(f"preset is a name in quotes, not {quoted(name)}")
    preset = named(find_preset, name)
    if model not in (None, preset.model):
        raise SpecError(
            f"preset {name} is a {preset.model}, not a {model}; leave the model out, or take "
            "another preset"
        )
    model_type = find_model(preset.model)
    mixer_type = named(find_mixer, preset.mixer if mixer is None else mixer)
    own = preset.options
    if name_of(mixer_type) != preset.mixer:
        own = _subset(own, model_type.declared())
    return replace(_build(model_type, mixer_type, {**own, **given}), preset=preset.name)


def spelled(spec: Model | CapturedModel) -> list[str]:
    """Return the options of a command line that name a model, without those at their defaults.

    Raises:
        SpecError: it is a module that was given as it is, and has no name.
    """
    if isinstance(spec, CapturedModel):
        given = {name: _words(name, value) for name, value in spec.words().items()}
        return [word for name, ones in given.items() for one in ones for word in (f"--{name}", one)]
    words, mixer, default = ["--model", spec.name], "attn", _defaults(spec)
    if spec.preset:
        from vitprof.published import find_preset

        preset, declared = find_preset(spec.preset), spec.options()
        words, mixer = ["--preset", spec.preset], preset.mixer
        own = declared if mixer == name_of(type(spec.mixer)) else spec.declared()
        default |= {n: own[n].read(n, value) for n, value in preset.options.items() if n in own}
    if name_of(type(spec.mixer)) != mixer:
        words += ["--mixer", name_of(type(spec.mixer))]
    for name, value in {**spec.values(), **spec.mixer.values()}.items():
        flag = name.replace("_", "-")
        if value == default[name]:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(plain(value))]
    return words


def _defaults(spec: Model) -> dict[str, Value]:
    """Return the default of each option of a model and its mixer."""
    of_both: dict[str, Any] = {one.name: one.default for one in fields(spec)}
    of_both |= {one.name: one.default for one in fields(spec.mixer)}
    return {name: of_both[name] for name in spec.options()}


def _build(model: type[Model], mixer: type[Mixer], options: Mapping[str, object]) -> Model:
    given = dict(options)
    mixer = with_others(mixer, given)
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
    """Return a title for the model that has these conditions, or for those that share them.

    It is empty if they share neither preset, model, mixer nor module.
    """
    if "module" in conditions:
        return str(conditions["module"])
    own = " with ".join(str(conditions[key]) for key in ("model", "mixer") if key in conditions)
    parts = [str(conditions.get("preset", "")), own, str(conditions.get("mixer_at", ""))]
    return ", ".join(filter(None, parts))
