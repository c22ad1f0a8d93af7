"""Models of a comparison: one model with each of several mixers, or several presets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from vitprof.captured.subject import CapturedModel
from vitprof.errors import SpecError, listing
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS, find_model
from vitprof.request.effects import check_effects
from vitprof.request.names import named
from vitprof.request.specs import specify_loosely, subject, with_others
from vitprof.subject import Configurable
from vitprof.values.options import Option, label_of

if TYPE_CHECKING:
    from vitprof.published.preset import Preset

_OF_A_MODULE = frozenset(("module", "arg", "input"))


class Candidate(Protocol):
    """A model or a module, before its options are given."""

    @property
    def label(self) -> str:
        """Its name in the comparison."""

    def declared(self) -> Mapping[str, Option]:
        """Return the declarations of its options, by name."""

    def specify(self, options: Mapping[str, object]) -> Configurable:
        """Return it with these options, except those that only other candidates have.

        An option may have no effect on it, as it may on others.

        Raises:
            SpecError: it has no such option, or a value is not allowed.
        """


@dataclass(frozen=True, slots=True)
class ModuleCandidate:
    """A module of any origin, which is captured once.

    Attributes:
        model: the module as it comes.
    """

    model: CapturedModel

    @property
    def label(self) -> str:
        return self.model.name

    def declared(self) -> Mapping[str, Option]:
        return self.model.options()

    def specify(self, options: Mapping[str, object]) -> CapturedModel:
        """Return the module at these sizes.

        Raises:
            SpecError: it has no such size, or its formulas do not hold there.
        """
        for name in options:
            if name not in self.model.options():
                own = [label_of(one) for one in self.model.options()]
                known = f"those are {listing(own, 'and')}" if own else "there is none but the batch"
                raise SpecError(
                    f"{label_of(name)} is no size of {self.label} that can be varied; {known}"
                )
        return self.model.at(options) if options else self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCandidate:
    """A model with a mixer, before its options are given.

    Attributes:
        label: its name in the comparison.
        model: class of the model.
        mixer: class of the mixer.
        preset: the published configuration that it starts from; None without one.
        others: options that only the other candidates' mixers have.
    """

    label: str
    model: type[Model]
    mixer: type[Mixer]
    preset: str | None
    others: frozenset[str]

    def declared(self) -> Mapping[str, Option]:
        """Return the declarations of the options of the model and its mixer."""
        return {**self.mixer.declared(), **self.model.declared()}

    def specify(self, options: Mapping[str, object]) -> Model:
        """Return the model with these options, except those that only other candidates have.

        Raises:
            SpecError: it has no such option, or a value is not allowed.
        """
        own = {name: value for name, value in options.items() if name not in self.others}
        if self.preset is not None:
            own["preset"] = self.preset
        return specify_loosely(self.model.name, mixer=self.mixer, options=own)


def lay_out(
    model: str | None,
    mixer: str | type[Mixer] | None,
    mixers: Iterable[str | type[Mixer]] | None,
    presets: Iterable[str] | None,
    modules: Iterable[str] | None,
    models: Mapping[str, Configurable] | None,
    options: Mapping[str, object],
) -> dict[str, Configurable]:
    """Return the models to compare, by label.

    Args:
        model: a model's name.
        mixer: a single mixer's name; with presets, the mixer of each of them.
        mixers: names of several mixers; each takes the options that it has.
        presets: names of published configurations.
        modules: references of modules, instead of models and mixers.
        models: models that are already built, instead of all other arguments.
        options: options of the models and the mixers, by field name.

    Raises:
        SpecError: there is no such model, mixer, preset or option, or arguments exclude each
            other.
    """
    if models is None:
        found = candidates(model, mixer, mixers, presets, modules, options)
        own = without_module(options)
        chosen = {one.label: one.specify(own) for one in found}
        check_effects(chosen.values(), own)
        return chosen
    if model is not None or mixer is not None or mixers or presets or modules or options:
        raise SpecError("the models are already built; leave out model, mixers and options")
    for name, one in models.items():
        if not isinstance(one, Model | CapturedModel):
            raise SpecError(
                f"model {name} is of type {type(one).__name__}, not one made by specify; modules "
                "are laid side by side by their references, modules=['timm:resnet18', ...]"
            )
    return {**models}


def without_module(options: Mapping[str, object]) -> dict[str, object]:
    """Return options without those that name a module."""
    return {name: value for name, value in options.items() if name not in _OF_A_MODULE}


def candidates(
    model: str | None,
    mixer: str | type[Mixer] | None,
    mixers: Iterable[str | type[Mixer]] | None,
    presets: Iterable[str] | None,
    modules: Iterable[str] | None,
    options: Mapping[str, object],
) -> Sequence[Candidate]:
    """Return the candidates for several mixers, for presets, for one mixer, or for modules.

    See `lay_out`.
    """
    references = [*(modules or ()), *([options["module"]] if "module" in options else [])]
    if references or modules is not None:
        if model is not None or mixer is not None or mixers or presets or "preset" in options:
            raise SpecError("modules come from elsewhere; leave out model, mixer and preset")
        return of_modules(references, options)
    if _OF_A_MODULE & options.keys():
        raise SpecError("arg and input are of a module; give --module or --modules")
    if mixers is not None and presets is not None:
        raise SpecError("mixers and presets exclude each other; give one of the two")
    if mixers is not None and mixer is not None:
        raise SpecError("mixer and mixers exclude each other; give one of the two")
    if presets is None:
        one = None if mixer is None else [mixer]
        return with_mixers(model, one if mixers is None else mixers, options)
    if model is not None or "preset" in options:
        raise SpecError("presets name the models; leave out model and preset")
    return of_presets(presets, mixer, options)


def with_mixers(
    model: str | None, mixers: Iterable[str | type[Mixer]] | None, options: Mapping[str, object]
) -> list[ModelCandidate]:
    """Return a candidate for each of the mixers, labelled by the mixer.

    Args:
        model: the model's name; None for the model of the preset, or without one `layer` if
            `tokens` is an option, else `mae`.
        mixers: names; duplicates are dropped. None for the mixer of the preset, or `attn`
            without one.
        options: given options, of which `preset` and `tokens` decide the defaults.

    Raises:
        SpecError: there is no such model, mixer or preset, or no mixer is named.
    """
    from vitprof.published import find_preset

    preset = options.get("preset")
    start = None if preset is None else named(find_preset, str(preset))
    usual = start.model if start else "layer" if "tokens" in options else "mae"
    if mixers is None:
        mixers = [start.mixer if start else "attn"]
    every = (with_others(named(find_mixer, name), dict(options)) for name in mixers)
    found = list(dict.fromkeys(every))
    if not found:
        raise SpecError(f"no mixer is named; known are {', '.join(MIXERS)}")
    chosen = named(find_model, usual if model is None else model)
    return _candidates(
        [(mixer.name, chosen, mixer, start.name if start else None) for mixer in found]
    )


def of_presets(
    names: Iterable[str],
    mixer: str | type[Mixer] | None = None,
    options: Mapping[str, object] = MappingProxyType({}),
) -> list[ModelCandidate]:
    """Return a candidate for each preset, labelled by its name.

    Args:
        names: names of presets; duplicates are dropped.
        mixer: the mixer of all of them; None for each preset's own.
        options: given options, of which `mixer_at` adds mixers.

    Raises:
        SpecError: there is no such preset or mixer, or no preset is named.
    """
    from vitprof.published import find_preset

    found = {preset.name: preset for preset in (named(find_preset, name) for name in names)}
    if not found:
        raise SpecError("no preset is named; vitprof presets lists them")
    return _candidates(
        [
            (name, find_model(preset.model), _mixer_of(preset, mixer, options), name)
            for name, preset in found.items()
        ]
    )


def _mixer_of(
    preset: Preset, mixer: str | type[Mixer] | None, options: Mapping[str, object]
) -> type[Mixer]:
    """Return the mixer of a preset, or another one in its place."""
    at = {name: value for name, value in options.items() if name == "mixer_at"}
    if mixer is not None:
        return with_others(named(find_mixer, mixer), at)
    return with_others(find_mixer(preset.mixer), {**preset.options, **at})


def of_modules(
    references: Iterable[object], options: Mapping[str, object]
) -> list[ModuleCandidate]:
    """Return a candidate for each module, labelled by its reference.

    Args:
        references: references; duplicates are dropped.
        options: `arg` and `input`, which each of them takes.

    Raises:
        SpecError: a module cannot be had, or none is named.
    """
    words = {name: options[name] for name in ("arg", "input") if name in options}
    found = []
    for reference in dict.fromkeys(references):
        model, _ = subject(options={"module": reference, **words})
        assert isinstance(model, CapturedModel)
        found.append(ModuleCandidate(model))
    if not found:
        raise SpecError("no module is named; give references such as timm:deit_small_patch16_224")
    return found


def _candidates(
    found: list[tuple[str, type[Model], type[Mixer], str | None]],
) -> list[ModelCandidate]:
    of_mixers = {name for _, _, mixer, _ in found for name in mixer.declared()}
    of_mixers -= {name for model in MODELS.values() for name in model.declared()}
    return [
        ModelCandidate(
            label=label,
            model=model,
            mixer=mixer,
            preset=preset,
            others=frozenset(of_mixers - mixer.declared().keys()),
        )
        for label, model, mixer, preset in found
    ]
