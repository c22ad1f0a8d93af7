"""Options that are given although they have no effect on what is asked.

An option says at its declaration what it needs to have an effect. The values of a preset, or the
defaults, may have none; so may a value that is given and equals them, as in a check file that
lists every option.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from vitprof.errors import SpecError
from vitprof.formulas.model import Model
from vitprof.subject import Configurable
from vitprof.values.options import Value, no_effect, said, why_idle


def check_effects(
    models: Iterable[Configurable],
    given: Mapping[str, object],
    *,
    swept: Collection[str] = (),
) -> None:
    """Check that each given option has an effect on one of the models at least.

    Args:
        models: what is asked for, with the given options; modules are not checked.
        given: options by name; those that no model has are not checked.
        swept: options with several values, whose value in a model is one of them.

    Raises:
        SpecError: an option has no effect, and its value is not that of the preset or the default.
    """
    built = [model for model in models if isinstance(model, Model)]
    for name in [*given, *swept]:
        owners = [model for model in built if name in model.options()]
        sentences = [_why_idle(model, name, swept=name in swept) for model in owners]
        if owners and all(sentences):
            raise SpecError(sentences[0])


def check_arguments(given: Mapping[str, tuple[Value, Value]], why: str) -> None:
    """Check that arguments that have no effect on what is asked are not given.

    Args:
        given: each argument's value and its default, by name.
        why: what they have no effect with, and the way out, to end the sentence.

    Raises:
        SpecError: a value is not the default.
    """
    for name, (value, usual) in given.items():
        if value != usual:
            raise SpecError(f"{said(name, (value,))} has no effect with {why}")


def _why_idle(model: Model, name: str, *, swept: bool) -> str:
    """Return the sentence that an option has no effect on a model, or nothing."""
    needs = {**model.needs(), **model.mixer.needs()}.get(name)
    values = {**model.values(), **model.mixer.values()}
    idle = None if needs is None else why_idle(name, needs, values)
    if idle is None or (not swept and values[name] == _base(model, name)):
        return ""
    return no_effect(name, values[name], idle)


def _base(model: Model, name: str) -> Value:
    """Return the value that an option has if it is not given: a preset's, or the default."""
    from vitprof.published import find_preset

    owner = type(model) if name in model.declared() else type(model.mixer)
    if model.preset:
        options = find_preset(model.preset).options
        if name in options:
            return owner.declared()[name].read(name, options[name])
    return owner.default(name)
