"""Where words can stand in a picture: clear of one another and of the lines.

All lengths are in the same unit, say points, with y upwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_DISTANCES = (2.0, 6.0, 11.0, 17.0, 24.0, 32.0)
_DIRECTIONS = ((-1, 1), (1, -1), (0, 1), (0, -1), (1, 1), (-1, -1), (-1, 0), (1, 0))

Segment = tuple[float, float, float, float]  # from x, y to x, y


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Whether the two have a part in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def holds(self, other: Box) -> bool:
        """Whether the other is within this one."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.bottom <= other.bottom
            and other.top <= self.top
        )

    def cut_by(self, segment: Segment) -> bool:
        """Whether the segment has a part within."""
        x, y, to_x, to_y = segment
        first, last = 0.0, 1.0  # the share of the segment that is not yet ruled out
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
    """Heights at least `gap` apart, in the order of the wanted ones and as near as can be.

    Neighbours that are too close become a group around the mean of what they want. All are
    between `low` and `high`, which have to be far enough apart for them.
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


def beside(
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
    """The box for a word near a point, on the free place that is nearest.

    Args:
        x: of the point.
        y: of the point.
        clear: how far around the point nothing may stand.
        width: of the word.
        height: of the word.
        within: what it may not leave.
        boxes: what it may not cover.
        segments: lines that may not go through it.

    Returns:
        A free place; where there is none near, the one with the fewest lines through it.
    """
    boxes, segments = list(boxes), list(segments)
    best, fewest = None, 0
    for distance in _DISTANCES:
        for right, up in _DIRECTIONS:
            # Diagonally, the corner of the word is what has to stay clear.
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
