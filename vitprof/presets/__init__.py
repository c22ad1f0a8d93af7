"""Published configurations, one file a family, and the registry that names them."""

from __future__ import annotations

from collections.abc import Mapping

from vitprof.errors import unknown
from vitprof.presets import mae, mlps, reports, trunks, vit
from vitprof.presets.preset import Preset

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for family in (vit, mae, mlps, trunks, reports)
    for preset in family.presets()
}


def find_preset(name: str) -> Preset:
    """Return the preset of this name.

    Raises:
        SpecError: there is none.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
