"""Published configurations, one file per family, and their registry."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from vitprof.errors import SpecError, unknown
from vitprof.published import (
    class_attention,
    mae,
    mlps,
    positions,
    pyramids,
    reports,
    sam,
    sequences,
    sounds,
    swin,
    towers,
    videos,
    vit,
)
from vitprof.published.preset import Preset
from vitprof.text import quoted

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for family in (
        *(vit, towers, class_attention, positions, sam, mae, mlps, pyramids, swin, sequences),
        *(sounds, videos, reports),
    )
    for preset in family.presets()
}


_NAMES: Mapping[str, str] = {
    name: preset.name for preset in PRESETS.values() for name in (preset.name, *preset.aliases)
}


def find_preset(name: str) -> Preset:
    """Return the preset of this name, which can be that of the same model in a library.

    Raises:
        SpecError: there is no preset of this name.
    """
    if name in _NAMES:
        return PRESETS[_NAMES[name]]
    model, _, tag = name.partition(".")
    if tag and model in _NAMES:
        raise SpecError(
            f"{quoted(name)} names weights, whose head may have other classes than 1,000; give "
            f"{_NAMES[model]}, with --classes for others, or --module timm:{name}"
        )
    raise unknown("preset", name, _NAMES, lists="vitprof presets lists all of them")


def find_presets(pattern: str) -> list[Preset]:
    """Return the presets whose name, or name in a library, matches a pattern such as `deit*`.

    Raises:
        SpecError: none matches.
    """
    found = dict.fromkeys(_NAMES[name] for name in _NAMES if fnmatchcase(name, pattern))
    if not found:
        raise SpecError(
            f"none of the {len(PRESETS)} presets matches {quoted(pattern)}; give * for any text, "
            "as in 'deit*'"
        )
    return [preset for name, preset in PRESETS.items() if name in found]
