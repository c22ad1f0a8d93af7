"""The two sides of a match: a reference, and the variant that is to cost the same.

The options of a request are those of the variant. The reference is its preset as published, or
the model that is named, with those options of the request that say what the model reads and
returns, such as the image size and the classes: see `Model.task`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vitprof.captured.subject import CapturedModel
from vitprof.errors import SpecError
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.request.effects import check_effects
from vitprof.request.side_by_side import Candidate, ModelCandidate, candidates
from vitprof.request.specs import subject
from vitprof.subject import Configurable
from vitprof.text import quoted
from vitprof.values.options import Option, label_of

_NEXT_WORD = re.compile(r",(?=\s*[A-Za-z_][\w.-]*\s*=)")  # a comma within a value stays
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Built:
    """A variant that is already built: a candidate without options.

    Attributes:
        model: the model.
    """

    model: Model | CapturedModel

    @property
    def label(self) -> str:
        return self.model.variant

    def declared(self) -> Mapping[str, Option]:
        return self.model.options()

    def specify(self, options: Mapping[str, object]) -> Model | CapturedModel:
        """Return the model at these options.

        Raises:
            SpecError: its rules do not admit them.
        """
        return self.model.at(options)


def variant_of(
    model: str | Model | CapturedModel | None, mixer: str | None, options: Mapping[str, object]
) -> Candidate:
    """Return the variant, before its options are given.

    Raises:
        SpecError: there is no such model, mixer, preset or module, or they exclude each other.
    """
    if isinstance(model, Model | CapturedModel):
        if mixer is not None or options:
            subject(model, mixer=mixer, options=options)  # raises the error
        return Built(model)
    (found,) = candidates(model, mixer, None, None, None, options)
    return found


def reference_of(
    reference: object,
    variant: Candidate,
    options: Mapping[str, object],
) -> tuple[Configurable, dict[str, object]]:
    """Return the reference, and the options of the task that it does not have.

    Args:
        reference: `NAME` of a preset, a model or a module, `NAME,OPTION=VALUE,...`, a table of
            its options by name, or a model that is built; None for the preset of the request.
        variant: the variant.
        options: options of the request.

    Raises:
        SpecError: it is not named, cannot be had, or a value is not allowed.
    """
    if isinstance(reference, Model | CapturedModel):
        return reference, {}
    if reference is None:
        reference = _own_preset(options)
    if not isinstance(reference, str | Mapping):  # a caller without types
        raise SpecError(
            "reference is a name, a dict of options or a model made by specify, not of type "
            f"{type(reference).__name__}; name a module, as in timm:resnet50"
        )
    given = _read(reference) if isinstance(reference, str) else dict(reference)
    task = {name: options[name] for name in _task_of(variant) if name in {*options} - {*given}}
    made: Configurable
    if "module" in given:
        module, _ = subject(options=given)
        own = {name: value for name, value in task.items() if name in module.options()}
        made = module.at(own) if own else module
    else:
        model, mixer = (_name(given, name) for name in ("model", "mixer"))
        (candidate,) = candidates(model, mixer, None, None, None, given)
        own = {name: value for name, value in task.items() if name in candidate.declared()}
        made = candidate.specify({**given, **own})
        check_effects([made], given)
    return made, {name: value for name, value in task.items() if name not in own}


def check_sides(
    variant: Configurable,
    reference: Configurable,
    options: Mapping[str, object],
    *,
    swept: Collection[str],
) -> None:
    """Check that each option of a request has an effect on a side that has it.

    Args:
        variant: the variant, at any of its sizes.
        reference: the reference.
        options: options of the request.
        swept: options that are varied.

    Raises:
        SpecError: an option has no effect.
    """
    task = variant.task if isinstance(variant, Model) else ()
    shared = {name: value for name, value in options.items() if name in task}
    own = {name: value for name, value in options.items() if name not in task}
    check_effects([variant, reference], shared)
    check_effects([variant], own, swept=swept)


def _own_preset(options: Mapping[str, object]) -> dict[str, object]:
    if "preset" in options:
        return {"preset": options["preset"]}
    raise SpecError(
        "there is no reference, whose cost is to be met; give a preset, such as deit-s, or "
        "--reference, such as layer,dim=384,heads=6 or timm:resnet50"
    )


def _task_of(variant: Candidate) -> tuple[str, ...]:
    if isinstance(variant, ModelCandidate):
        return variant.model.task
    return ()


def _name(given: dict[str, object], key: str) -> str | None:
    value = given.pop(key, None)
    if value is None or isinstance(value, str):
        return value
    raise SpecError(f"{key} of the reference is a name in quotes, not {quoted(value)}")


def _read(text: str) -> dict[str, object]:
    """Return the options in `NAME,OPTION=VALUE,...`, whose first word is the name alone."""
    name, *words = (word.strip() for word in _NEXT_WORD.split(text))
    if ":" in name:
        args = [word for word in words if not word.startswith("input=")]
        inputs = [word.removeprefix("input=") for word in words if word.startswith("input=")]
        return {"module": name, "arg": args, "input": inputs}
    given = {}
    for word in words:
        option, _, value = word.partition("=")
        option = option.strip().replace("-", "_")
        if option in given:
            raise SpecError(f"{label_of(option)} of the reference is given twice; give it once")
        given[option] = _FLAGS.get(value.strip().lower(), value.strip())
    return {"model" if name in MODELS else "preset": name, **given}
