"""`vitprof.models` and `vitprof.mixers`: list models and mixers with their formulas."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import overload

from vitprof.api.counts import macs
from vitprof.captured.libraries import find_names
from vitprof.captured.libraries.base import version_of
from vitprof.counters import NAMES
from vitprof.docstrings import docstring
from vitprof.errors import VitprofError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import find_all_mixers, find_mixer
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.formulas.plugins import explain
from vitprof.formulas.polynomial import mixer_polynomials, model_polynomials
from vitprof.progress import Say, quiet
from vitprof.report.catalogue import Catalogue, Entry, LibraryModel, LibraryModels, MixerDetails
from vitprof.report.verdict import verdict
from vitprof.request.names import named
from vitprof.request.specs import specify
from vitprof.values.options import Value, plain

_MIXER_SYMBOLS = (
    "B images of N tokens of width D; head dim = D / heads; on a grid, N = rows × columns"
)
_MODEL_SYMBOLS = (
    "one image, attention as the mixer, mlp ratio 4; patches of an image, of which the encoder "
    "sees those kept"
)
_READ_AT = {"tokens": 49}  # near the default: a grid of 7 x 7, and 7 segments for landmarks


@overload
def models(pattern: None = None) -> Catalogue: ...


@overload
def models(pattern: str) -> LibraryModels: ...


@overload
def models(pattern: str | None) -> Catalogue | LibraryModels: ...


def models(pattern: str | None = None) -> Catalogue | LibraryModels:
    """List the models, each with its source and its formulas for parameters and MACs.

    Args:
        pattern: names of another library to list in their place, such as `timm:deit*`.

    Raises:
        SpecError: the library is unknown or not installed, or no name of it matches.
    """
    if pattern is not None:
        place = pattern.partition(":")[0]
        return LibraryModels(
            pattern=pattern,
            models=tuple(
                LibraryModel(reference=name, input=known or None)
                for name, known in find_names(pattern)
            ),
            library=f"{place} {version_of(place)}",
        )
    return Catalogue(
        command="models",
        symbols=_MODEL_SYMBOLS,
        entries=tuple(
            _entry(model, (), model_polynomials(model()), model().values())
            for model in MODELS.values()
        ),
    )


def mixers(
    name: str | type[Mixer] | None = None, *, counters: Iterable[str] = NAMES, say: Say = quiet
) -> Catalogue | MixerDetails:
    """List the mixers with their formulas and sources, or show one in detail.

    Args:
        name: name, reference or class of the mixer to show; None to list all.
        counters: tools whose count of the shown mixer is explained.
        say: called with a message on the current progress.

    Raises:
        SpecError: the mixer or a counter is unknown.
    """
    if name is None:
        found, left_out = find_all_mixers()
        entries = []
        for one in found:
            try:
                entries.append(_mixer_entry(one))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # code of another package, which can raise anything
                sentence = explain(error, [one])
                if not sentence and not isinstance(error, VitprofError):
                    raise
                left_out.append(sentence or str(error))
        return Catalogue(
            command="mixers",
            symbols=_MIXER_SYMBOLS,
            entries=tuple(entries),
            left_out=tuple(left_out),
        )
    mixer = named(find_mixer, name)
    spec: Mapping[str, Value] = {}
    readings: dict[str, str] = {}
    tools = [*counters]
    if tools != ["analytic"]:
        layer = specify("layer", mixer=mixer, options=_READ_AT)
        counts = macs(layer, counters=tools, say=say)
        readings = {tool: verdict(found) for tool, found in counts.differences.items()}
        spec = counts.spec
    return MixerDetails(
        entry=_mixer_entry(mixer),
        symbols=_MIXER_SYMBOLS,
        equations=docstring(sys.modules[mixer.__module__]) or mixer.summary,
        explained={
            name: f"{option.help.removeprefix(f'{mixer.name}: ')} ({option.bounds()})"
            for name, option in mixer.declared().items()
        },
        needs_grid=mixer().needs_grid,
        readings=readings,
        spec={name: plain(value) for name, value in spec.items()},
    )


def _mixer_entry(mixer: type[Mixer]) -> Entry:
    return _entry(mixer, mixer.aliases, mixer_polynomials(mixer()), mixer().values())


def _entry(
    chosen: type[Model] | type[Mixer],
    aliases: tuple[str, ...],
    formulas: Mapping[Measure, str],
    options: Mapping[str, Value],
) -> Entry:
    return Entry(
        name=chosen.name,
        aliases=aliases,
        summary=chosen.summary,
        source=chosen.source,
        params=formulas[Measure.PARAMS],
        macs=formulas[Measure.MACS],
        options={name: plain(value) for name, value in options.items()},
    )
