"""Published configurations, one file per family, and their registry."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from vitprof.errors import SpecError, listing
from vitprof.published import mae, mlps, reports, trunks, vit
from vitprof.published.preset import Preset
from vitprof.text import quoted

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for family in (vit, mae, mlps, trunks, reports)
    for preset in family.presets()
}


def find_preset(name: str) -> Preset:
    """Return the preset of this name.

    Raises:
        SpecError: there is no preset of this name.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=3)
        guess = f"did you mean {listing(near)}? " if near else ""
        raise SpecError(
            f"there is no preset {quoted(name)}; {guess}vitprof presets lists all of them"
        )
    return PRESETS[name]
