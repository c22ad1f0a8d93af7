"""Marks of crossovers in a panel: one ring a crossover, and one for those that lie together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import dist

from vitprof.formats.drawing.curves import Crossing
from vitprof.formats.drawing.labels import Box, Point, Segment, place_labels
from vitprof.formats.drawing.scale import show_value

_APART = 2.1  # least distance of rings, over their radius


@dataclass(frozen=True, slots=True)
class Mark:
    """Ring around crossovers that cannot be told apart, with the numbers of all of them.

    Attributes:
        x: x of the middle of the ring.
        y: y of the middle of the ring.
        crossings: crossovers, ascending.
        places: x and y of each place at which there is one.
    """

    x: float
    y: float
    crossings: tuple[Crossing, ...]
    places: tuple[Point, ...]

    @property
    def words(self) -> str:
        """Value of the option: `49`, or the first and the last of several, `129–133`."""
        ends = dict.fromkeys((self.crossings[0].at, self.crossings[-1].at))
        return "–".join(show_value(at) for at in ends)

    def joined(self, other: Mark) -> Mark:
        """Return the mark of the crossovers of both."""
        places = (*self.places, *other.places)
        x, y = (sum(along) / len(places) for along in zip(*places, strict=True))
        return Mark(x, y, tuple(sorted(self.crossings + other.crossings)), places)

    def away(self, other: Mark) -> float:
        """Return the distance of the middles."""
        return dist((self.x, self.y), (other.x, other.y))


def marks_of(
    crossings: Mapping[Point, Sequence[Crossing]],
    *,
    radius: float,
    size_of: Callable[[str], Point],
    within: Box,
    boxes: Sequence[Box],
    segments: Sequence[Segment],
) -> list[tuple[Mark, Box]]:
    """Return the marks of crossovers, each with the box of its label.

    Rings that would overlap are joined; so are the nearest ones, until all labels have room.

    Args:
        crossings: crossovers by place.
        radius: radius of a ring.
        size_of: width and height of a label.
        within: box that has to contain the labels.
        boxes: boxes that a label should not overlap.
        segments: lines that should not pass through a label.
    """
    marks = [
        Mark(*place, tuple(sorted(found)), (place,)) for place, found in sorted(crossings.items())
    ]
    while len(marks) > 1 and _nearest(marks)[0] < _APART * radius:
        marks = _with_nearest_joined(marks)
    while marks:
        placed = place_labels(
            [(mark.x, mark.y) for mark in marks],
            [size_of(mark.words) for mark in marks],
            clear=radius,
            within=within,
            boxes=boxes,
            segments=segments,
        )
        if placed is not None:
            return list(zip(marks, placed, strict=True))
        marks = _with_nearest_joined(marks) if len(marks) > 1 else []
    return []


def _nearest(marks: Iterable[Mark]) -> tuple[float, Mark, Mark]:
    pairs = ((one.away(other), one, other) for one, other in combinations(marks, 2))
    return min(pairs, key=lambda pair: pair[0])


def _with_nearest_joined(marks: Sequence[Mark]) -> list[Mark]:
    _, one, other = _nearest(marks)
    rest = [mark for mark in marks if mark is not one and mark is not other]
    return sorted([*rest, one.joined(other)], key=lambda mark: (mark.x, mark.y))
