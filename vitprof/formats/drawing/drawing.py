"""Settings of a figure."""

from __future__ import annotations

from dataclasses import dataclass, field

from vitprof.errors import unknown
from vitprof.formats.drawing.size import Size, read_size
from vitprof.report.curves import AxisScale, Scales


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Settings of a figure.

    Attributes:
        size: size without the caption.
        caption: draw the caption; the metadata of the file have it in any case.
        scales: scales of the axes.
    """

    size: Size = field(default_factory=Size)
    caption: bool = True
    scales: Scales = field(default_factory=Scales)


def read_drawing(
    size: str | None, *, caption: bool, x_scale: str | None, y_scale: str | None
) -> Drawing:
    """Return the settings that are given as words; None for what is chosen by the data.

    Raises:
        SpecError: the size is none, or a scale is unknown.
    """
    return Drawing(
        size=Size() if size is None else read_size(size),
        caption=caption,
        scales=Scales(x=_scale("x", x_scale), y=_scale("y", y_scale)),
    )


def _scale(axis: str, name: str | None) -> AxisScale | None:
    if name is None:
        return None
    if name not in tuple(AxisScale):
        raise unknown(f"scale of the {axis} axis", name, tuple(AxisScale))
    return AxisScale(name)
