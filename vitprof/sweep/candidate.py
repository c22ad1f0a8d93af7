"""What can become a curve of a sweep: a model with a mixer, or a published configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vitprof.errors import SpecError
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import find_mixer
from vitprof.formulas.model import Model
from vitprof.formulas.models import find_model
from vitprof.specs import specify


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What makes a curve: a model with a mixer, whose sizes are yet to be given.

    Attributes:
        label: what the curve is called.
        model: the model's type.
        mixer: the mixer's type.
        preset: the published configuration that it starts from, if any.
    """

    label: str
    model: type[Model]
    mixer: type[Mixer]
    preset: str | None = None

    def specify(self, options: Mapping[str, object]) -> Model:
        """The model with these options.

        Raises:
            SpecError: it has no such option, or there is no such configuration.
        """
        named = {} if self.preset is None else {"preset": self.preset}
        return specify(self.model.name, mixer=self.mixer.name, options={**options, **named})


def candidates_of(
    model: str | None,
    names: Mapping[str, object],
    *,
    mixers: Sequence[str] | None = None,
    presets: Sequence[str] | None = None,
) -> list[Candidate]:
    """A model with each of the mixers, or each of the presets.

    Args:
        model: the model's name, as `specify` takes it.
        names: the options that are given, among them `preset`.
        mixers: names; None takes the presets' own, and `attn` without one. With presets, one.
        presets: names of published configurations.

    Raises:
        SpecError: there is no such model, mixer or preset, or none is named.
    """
    from vitprof.presets import find_preset

    if presets is not None:
        published = [find_preset(name) for name in dict.fromkeys(presets)]
        if not published:
            raise SpecError("no preset is named; vitprof presets lists them")
        return [
            Candidate(
                label=preset.name,
                model=find_model(preset.model),
                mixer=find_mixer(mixers[0] if mixers else preset.mixer),
                preset=preset.name,
            )
            for preset in published
        ]
    named = names.get("preset")
    start = None if named is None else find_preset(str(named))
    usual = start.model if start else "layer" if "tokens" in names else "mae"
    of_mixers = [find_mixer(name) for name in mixers or [start.mixer if start else "attn"]]
    return [
        Candidate(
            label=mixer.name,
            model=find_model(usual if model is None else model),
            mixer=mixer,
            preset=start.name if start else None,
        )
        for mixer in dict.fromkeys(of_mixers)
    ]
