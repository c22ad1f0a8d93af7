"""`vitprof.models` and `vitprof.mixers`: list models and mixers with their formulas."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import overload

from vitprof.api.counts import macs
from vitprof.captured.libraries import find_names
from vitprof.captured.libraries.base import version_of
from vitprof.counters import NAMES, find_tools
from vitprof.docstrings import docstring
from vitprof.errors import SpecError, VitprofError, listing
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import find_all_mixers, find_mixer
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS, find_model
from vitprof.formulas.plugins import explain
from vitprof.formulas.polynomial import mixer_polynomials, model_polynomials
from vitprof.progress import Say, quiet
from vitprof.report.catalogue import (
    Catalogue,
    Entry,
    LibraryModel,
    LibraryModels,
    MixerDetails,
    ModelDetails,
)
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
def models(name: None = None, *, say: Say = quiet) -> Catalogue: ...


@overload
def models(name: str, *, say: Say = quiet) -> ModelDetails | LibraryModels: ...


@overload
def models(name: str | None, *, say: Say = quiet) -> Catalogue | ModelDetails | LibraryModels: ...


def models(
    name: str | None = None, *, say: Say = quiet
) -> Catalogue | ModelDetails | LibraryModels:
    """List the models with their formulas and sources, or show one in detail.

    Args:
        name: name of the model to show, or a pattern of names of another library to list, such as
            `timm:deit*`; None to list all of vitprof.
        say: called with a message on the current progress.

    Raises:
        SpecError: there is no such model, the library is unknown or not installed, or no name of
            it matches.
    """
    if name is not None and ":" in name:
        pattern, place = name, name.partition(":")[0]
        say(f"importing {place}")
        return LibraryModels(
            pattern=pattern,
            models=tuple(
                LibraryModel(reference=name, input=known or None)
                for name, known in find_names(pattern)
            ),
            library=f"{place} {version_of(place)}",
        )
    if name is not None:
        model = named(find_model, name)
        return ModelDetails(
            entry=_model_entry(model),
            symbols=_MODEL_SYMBOLS,
            description=docstring(sys.modules[model.__module__]) or model.summary,
            explained=_explained(model),
        )
    return Catalogue(
        command="models",
        symbols=_MODEL_SYMBOLS,
        entries=tuple(map(_model_entry, MODELS.values())),
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
    if mixer.turns:
        names = listing(part.name for part in mixer.parts())
        raise SpecError(f"{mixer.name} is several mixers; give one of them, {names}")
    spec: Mapping[str, Value] = {}
    readings: dict[str, str] = {}
    tools = [*counters]
    if find_tools(tools):
        layer = specify("layer", mixer=mixer, options=_READ_AT)
        counts = macs(layer, counters=tools, say=say)
        readings = {tool: verdict(found) for tool, found in counts.differences.items()}
        spec = counts.spec
    return MixerDetails(
        entry=_mixer_entry(mixer),
        symbols=_MIXER_SYMBOLS,
        equations=docstring(sys.modules[mixer.__module__]) or mixer.summary,
        explained=_explained(mixer),
        needs_grid=mixer().needs_grid,
        readings=readings,
        spec={name: plain(value) for name, value in spec.items()},
    )


def _explained(owner: type[Model] | type[Mixer]) -> dict[str, str]:
    """Return what each option of a model or a mixer is, with the values that it takes."""
    return {
        name: f"{option.help.removeprefix(f'{owner.name}: ')} ({option.bounds()})"
        for name, option in owner.declared().items()
    }


def _model_entry(model: type[Model]) -> Entry:
    return _entry(model, (), model_polynomials(model()), model().values())


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
