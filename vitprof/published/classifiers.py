"""Presets of image classifiers, and the figures that timm prints of one."""

from __future__ import annotations

from collections.abc import Mapping

from vitprof.published.figures import Figure, macs, params
from vitprof.published.preset import Preset
from vitprof.published.sources import TIMM_CSV_240, timm

Shape = tuple[int, int, int]


def classifier(
    name: str,
    shape: Shape,
    source: str,
    options: Mapping[str, object],
    figures: tuple[Figure, ...],
    *,
    mixer: str = "attn",
    library: str = "",
    note: str = "",
) -> Preset:
    """Return the preset of a classifier of images in three channels, with GELU unless it says so.

    Args:
        name: its name.
        shape: dim, depth and heads.
        source: the paper, or the library.
        options: its other options.
        figures: its published counts.
        mixer: name of its token mixer.
        library: name of the same model in timm; empty if timm has none.
        note: differences between the published model and the one built here.
    """
    dim, depth, heads = shape
    sizes = {"dim": dim, "depth": depth, "heads": heads}
    return Preset(
        name=name,
        model="classifier",
        mixer=mixer,
        options={"channels": 3, "activation": "gelu", **sizes, **options},
        source=source,
        libraries=(f"timm:{library}",) if library else (),
        figures=figures,
        note=note,
    )


def of_timm(model: str, count: str, cost: str, table: str = TIMM_CSV_240) -> tuple[Figure, Figure]:
    """Return the parameters of timm's model, and the MACs that a table of timm's prints."""
    return params(count, timm(model)), macs(cost, table, "fvcore")
