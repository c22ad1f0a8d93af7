"""Models of a comparison: one model with each of several mixers, or several presets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vitprof.errors import SpecError
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS, find_model
from vitprof.request.specs import specify


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
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

    def specify(self, options: Mapping[str, object]) -> Model:
        """Return the model with these options, except those that only other candidates have.

        Raises:
            SpecError: it has no such option, or a value is not allowed.
        """
        own = {name: value for name, value in options.items() if name not in self.others}
        if self.preset is not None:
            own["preset"] = self.preset
        return specify(self.model.name, mixer=self.mixer.name, options=own)


def lay_out(
    model: str | None,
    mixer: str | None,
    mixers: Iterable[str] | None,
    presets: Iterable[str] | None,
    models: Mapping[str, Model] | None,
    options: Mapping[str, object],
) -> dict[str, Model]:
    """Return the models to compare, by label.

    Args:
        model: a model's name.
        mixer: a single mixer's name; with presets, the mixer of each of them.
        mixers: names of several mixers; each takes the options that it has.
        presets: names of published configurations.
        models: models that are already built, instead of all other arguments.
        options: options of the models and the mixers, by field name.

    Raises:
        SpecError: there is no such model, mixer, preset or option, or arguments exclude each
            other.
    """
    if models is None:
        found = candidates(model, mixer, mixers, presets, options)
        return {one.label: one.specify(options) for one in found}
    if model is not None or mixer is not None or mixers or presets or options:
        raise SpecError("the models are already built; leave out model, mixers and options")
    return {**models}


def candidates(
    model: str | None,
    mixer: str | None,
    mixers: Iterable[str] | None,
    presets: Iterable[str] | None,
    options: Mapping[str, object],
) -> list[Candidate]:
    """Return the candidates for several mixers, for presets, or for one mixer; see `lay_out`."""
    if mixers is not None and presets is not None:
        raise SpecError("mixers and presets exclude each other; give one of the two")
    if mixers is not None and mixer is not None:
        raise SpecError("mixer and mixers exclude each other; give one of the two")
    if presets is None:
        one = None if mixer is None else [mixer]
        return with_mixers(model, one if mixers is None else mixers, options)
    if model is not None or "preset" in options:
        raise SpecError("presets name the models; leave out model and preset")
    return of_presets(presets, mixer)


def with_mixers(
    model: str | None, mixers: Iterable[str] | None, options: Mapping[str, object]
) -> list[Candidate]:
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

    named = options.get("preset")
    start = None if named is None else find_preset(str(named))
    usual = start.model if start else "layer" if "tokens" in options else "mae"
    if mixers is None:
        mixers = [start.mixer if start else "attn"]
    found = list(dict.fromkeys(find_mixer(name) for name in mixers))
    if not found:
        raise SpecError(f"no mixer is named; known are {', '.join(MIXERS)}")
    chosen = find_model(usual if model is None else model)
    return _candidates(
        [(mixer.name, chosen, mixer, start.name if start else None) for mixer in found]
    )


def of_presets(names: Iterable[str], mixer: str | None = None) -> list[Candidate]:
    """Return a candidate for each preset, labelled by its name.

    Args:
        names: names of presets; duplicates are dropped.
        mixer: the mixer of all of them; None for each preset's own.

    Raises:
        SpecError: there is no such preset or mixer, or no preset is named.
    """
    from vitprof.published import find_preset

    found = [find_preset(name) for name in dict.fromkeys(names)]
    if not found:
        raise SpecError("no preset is named; vitprof presets lists them")
    return _candidates(
        [
            (
                preset.name,
                find_model(preset.model),
                find_mixer(preset.mixer if mixer is None else mixer),
                preset.name,
            )
            for preset in found
        ]
    )


def _candidates(
    found: list[tuple[str, type[Model], type[Mixer], str | None]],
) -> list[Candidate]:
    of_mixers = {name for _, _, mixer, _ in found for name in mixer.declared()}
    of_mixers -= {name for model in MODELS.values() for name in model.declared()}
    return [
        Candidate(
            label=label,
            model=model,
            mixer=mixer,
            preset=preset,
            others=frozenset(of_mixers - mixer.declared().keys()),
        )
        for label, model, mixer, preset in found
    ]
