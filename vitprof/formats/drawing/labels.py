"""Place labels in a figure so that they overlap neither each other nor the lines.

All lengths have the same unit, such as points; y points upwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import dist

_DISTANCES = (0.2, 0.5, 0.9, 1.5, 2.2, 3.0, 4.0, 5.2, 6.6, 8.5)  # over the label's height
_DIAGONAL, _STEEP, _FLAT = 0.71, 0.92, 0.38
_DIRECTIONS = (
    *((-_DIAGONAL, _DIAGONAL), (_DIAGONAL, -_DIAGONAL), (0.0, 1.0), (0.0, -1.0)),
    *((_DIAGONAL, _DIAGONAL), (-_DIAGONAL, -_DIAGONAL), (-1.0, 0.0), (1.0, 0.0)),
    *((-_FLAT, _STEEP), (_FLAT, -_STEEP), (-_STEEP, _FLAT), (_STEEP, -_FLAT)),
    *((_FLAT, _STEEP), (-_FLAT, -_STEEP), (_STEEP, _FLAT), (-_STEEP, -_FLAT)),
)
_HIDES, _CROSSES = 3.0, 2.0  # costs, over a label's height of distance
_BESIDE = 0.6  # distance without a leader, over the label's height

Point = tuple[float, float]
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

    def nearest(self, point: Point) -> Point:
        """Return the place in the box that is nearest to a point."""
        x, y = point
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def away(self, point: Point) -> float:
        """Return the distance of a point; 0 in the box."""
        return dist(self.nearest(point), point)

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


def place_labels(
    points: Sequence[Point],
    sizes: Sequence[Point],
    *,
    clear: float,
    within: Box,
    boxes: Iterable[Box],
    segments: Iterable[Segment],
) -> list[Box] | None:
    """Return the boxes of labels of points, such that none overlaps another or a point.

    Of the free places around a point, the label has the one that hides the least and is nearest. A
    label that is not beside its point has a leader (`leader`), which passes through no label.

    Args:
        points: x and y of each point.
        sizes: width and height of each label.
        clear: radius of a point.
        within: box that has to contain the labels.
        boxes: boxes that a label should not overlap.
        segments: lines that should not pass through a label.

    Returns:
        The boxes in the order of the points; None if some label has no place.
    """
    hidden = _Hidden([*boxes], [*segments])
    forwards = range(len(points))
    orders = (forwards, forwards[::-1], sorted(forwards, key=lambda one: -_crowd(points, one)))
    rings = [_around(point, clear) for point in points]
    found = (
        _placed(order, points, sizes, rings, clear, within, hidden)
        for order in dict.fromkeys(map(tuple, orders))
    )
    return min(
        (placed for placed in found if placed is not None),
        key=lambda placed: placed[0],
        default=(0.0, None),
    )[1]


def leader(label: Box, point: Point, clear: float) -> Segment | None:
    """Return the line from a point's edge, `clear` from it, to its label; None if it is beside."""
    x, y = point
    to, away = label.nearest(point), label.away(point)
    if away <= clear + _BESIDE * (label.top - label.bottom):
        return None
    share = clear / away
    return (x + share * (to[0] - x), y + share * (to[1] - y), *to)


class _Hidden:
    """Costs of the places of labels, by what they hide."""

    def __init__(self, boxes: list[Box], segments: list[Segment]) -> None:
        self._boxes, self._segments = boxes, segments
        self._known: dict[Box, int] = {}

    def under(self, label: Box) -> int:
        """Return the number of boxes and lines that a label hides."""
        if label not in self._known:
            self._known[label] = sum(label.meets(box) for box in self._boxes) + sum(
                label.cut_by(segment) for segment in self._segments
            )
        return self._known[label]


def _placed(
    order: Sequence[int],
    points: Sequence[Point],
    sizes: Sequence[Point],
    rings: Sequence[Box],
    clear: float,
    within: Box,
    hidden: _Hidden,
) -> tuple[float, list[Box]] | None:
    """Place labels one by one; return the sum of their costs and the boxes."""
    found: dict[int, Box] = {}
    lines: list[Segment] = []
    total = 0.0
    for one in order:
        others = [ring for place, ring in enumerate(rings) if place != one]
        best: tuple[float, Box, Segment | None] | None = None
        for far, box in _candidates(points[one], sizes[one], clear):
            if best is not None and far >= best[0]:
                break  # those that follow are farther still
            if not within.holds(box) or any(box.away(point) < clear for point in points):
                continue
            line = leader(box, points[one], clear)
            taken = found.values()
            if any(map(box.meets, taken)) or any(map(box.cut_by, lines)):
                continue
            if line is not None and any(other.cut_by(line) for other in (*others, *taken)):
                continue
            crossed = line is not None and any(_cross(line, other) for other in lines)
            cost = far + _HIDES * hidden.under(box) + _CROSSES * crossed
            if best is None or cost < best[0]:
                best = (cost, box, line)
        if best is None:
            return None
        total += best[0]
        found[one] = best[1]
        lines += [] if best[2] is None else [best[2]]
    return total, [found[place] for place in range(len(points))]


def _candidates(point: Point, size: Point, clear: float) -> Iterator[tuple[float, Box]]:
    """Yield places around a point with their distances, over the label's height; nearest first."""
    (x, y), (width, height) = point, size
    for far in _DISTANCES:
        for right, up in _DIRECTIONS:
            away = clear + far * height
            # Where the label is to the side, its edge keeps the distance, and else its end.
            middle_x = x + right * away + _sign(right) * width / 2
            middle_y = y + up * away + _sign(up) * height / 2
            yield (
                far,
                Box(
                    middle_x - width / 2,
                    middle_y - height / 2,
                    middle_x + width / 2,
                    middle_y + height / 2,
                ),
            )


def _crowd(points: Sequence[Point], one: int) -> float:
    """Return how near the other points are."""
    away = (dist(points[one], other) for place, other in enumerate(points) if place != one)
    return sum(1 / max(distance, 1e-9) for distance in away)


def _around(point: Point, radius: float) -> Box:
    x, y = point
    return Box(x - radius, y - radius, x + radius, y + radius)


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _cross(one: Segment, other: Segment) -> bool:
    """True if two segments cross."""

    def side(line: Segment, x: float, y: float) -> bool:
        return (line[2] - line[0]) * (y - line[1]) > (line[3] - line[1]) * (x - line[0])

    return side(one, *other[:2]) != side(one, *other[2:]) and (
        side(other, *one[:2]) != side(other, *one[2:])
    )
