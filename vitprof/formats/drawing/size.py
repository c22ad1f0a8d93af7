"""Size of a figure, as it is given and in inches."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vitprof.errors import SpecError
from vitprof.text import quoted

LARGEST = 30.0  # inches: 9,000 pixels
_UNITS = {"in": 1.0, "cm": 2.54, "mm": 25.4}  # in an inch
_NUMBER = r"([0-9]{1,6}(?:\.[0-9]{0,6})?|\.[0-9]{1,6})"
_SIZE = re.compile(rf"{_NUMBER}(?:x{_NUMBER})? ?({'|'.join(_UNITS)})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height of a figure in inches, without its caption.

    Attributes:
        width: width; 0 for a column of a paper a panel, at most two.
        height: height; 0 for what panels of the usual height take.
    """

    width: float = 0.0
    height: float = 0.0

    def __str__(self) -> str:
        return f"{self.width:g}x{self.height:g}" if self.height else f"{self.width:g}"


def read_size(given: str) -> Size:
    """Return the size that is given as `3.3x2.5`, `84x60mm`, or a width alone.

    Raises:
        SpecError: it is no size, or above 30 inches.
    """
    found = _SIZE.fullmatch(given.strip().lower())
    if found is None:
        raise SpecError(
            f"figure size {quoted(given)} is not a width and a height in inches; give it as "
            "3.3x2.5, 84x60mm or 8.4x6cm, or the width alone"
        )
    width, height, unit = found.groups()
    per_inch = _UNITS[unit or "in"]
    size = Size(float(width) / per_inch, float(height or 0) / per_inch)
    if max(size.width, size.height) > LARGEST:
        raise SpecError(
            f"figure size {quoted(given)} is above {LARGEST:g} inches; give a smaller one, such as "
            "3.3x2.5, and enlarge the SVG or PDF, which have no pixels"
        )
    if not size.width or (height is not None and not size.height):
        raise SpecError(f"figure size {quoted(given)} has a side of 0; give one such as 3.3x2.5")
    return size
