"""Place labels in a figure so that they overlap neither each other nor the lines.

All lengths have the same unit, such as points; y points upwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_DISTANCES = (2.0, 6.0, 11.0, 17.0, 24.0, 32.0)
_DIRECTIONS = ((-1, 1), (1, -1), (0, 1), (0, -1), (1, 1), (-1, -1), (-1, 0), (1, 0))

Segment = tuple[float, float, float, float]  # from x, y to x, y


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """True if the two overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def holds(self, other: Box) -> bool:
        """True if the other box is within this one."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.bottom <= other.bottom
            and other.top <= self.top
        )

    def cut_by(self, segment: Segment) -> bool:
        """True if the segment passes through the box."""
        x, y, to_x, to_y = segment
        first, last = 0.0, 1.0  # the part of the segment that may be inside
        for start, way, low, high in (
            (x, to_x - x, self.left, self.right),
            (y, to_y - y, self.bottom, self.top),
        ):
            if way == 0:
                if not low < start < high:
                    return False
                continue
            enters, leaves = sorted(((low - start) / way, (high - start) / way))
            first, last = max(first, enters), min(last, leaves)
        return first < last


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return heights at least `gap` apart, in the order of the wanted ones and close to them.

    Neighbours that are too close become a group around the mean of their wanted heights. All
    are between `low` and `high`, which have to be far enough apart.
    """
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    groups: list[list[int]] = []
    centres: list[float] = []
    for place in order:
        groups.append([place])
        centres.append(_centre([wanted[place]], gap, low, high))
        while len(groups) > 1 and (
            centres[-1] - centres[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            above = groups.pop()
            groups[-1] += above
            centres.pop()
            centres[-1] = _centre([wanted[one] for one in groups[-1]], gap, low, high)
    heights = [0.0] * len(wanted)
    for group, centre in zip(groups, centres, strict=True):
        for step, place in enumerate(group):
            heights[place] = centre + gap * (step - (len(group) - 1) / 2)
    return heights


def _centre(wanted: Sequence[float], gap: float, low: float, high: float) -> float:
    half = gap * (len(wanted) - 1) / 2
    return min(max(sum(wanted) / len(wanted), low + half), high - half)


def place_label(
    x: float,
    y: float,
    *,
    clear: float,
    width: float,
    height: float,
    within: Box,
    boxes: Iterable[Box],
    segments: Iterable[Segment],
) -> Box:
    """Return the box of a label at the nearest free place around a point.

    Args:
        x: x of the point.
        y: y of the point.
        clear: distance around the point to keep free.
        width: width of the label.
        height: height of the label.
        within: box that has to contain the label.
        boxes: boxes that the label may not overlap.
        segments: lines that may not pass through the label.

    Returns:
        A free place; if there is none, the one with the fewest overlaps.
    """
    boxes, segments = list(boxes), list(segments)
    best, fewest = None, 0
    for distance in _DISTANCES:
        for right, up in _DIRECTIONS:
            # Diagonally, the corner of the label has to keep the distance.
            away = (clear + distance) * (0.71 if right and up else 1)
            middle_x, middle_y = x + right * (away + width / 2), y + up * (away + height / 2)
            box = Box(
                middle_x - width / 2,
                middle_y - height / 2,
                middle_x + width / 2,
                middle_y + height / 2,
            )
            if not within.holds(box):
                continue
            met = sum(box.meets(other) for other in boxes) * (1 + len(segments))
            met += sum(box.cut_by(segment) for segment in segments)
            if best is None or met < fewest:
                best, fewest = box, met
            if not met:
                return box
    return best or Box(x + clear, y + clear, x + clear + width, y + clear + height)
