"""Caching allocator: each rule by hand, and all rules against a naive implementation."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise, permutations
from typing import TypeVar

import pytest
from cases import for_each

from vitprof.allocation.allocator import Allocator, Block, DoesNotFitError, Reserved, replay
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.trace import trace

MIB = 2**20
UNIT = 512
T = TypeVar("T")
FREE = -1  # instead of a size in bytes: the allocation is freed


def taken(*steps: tuple[int, int], capacity: int | None = None) -> Reserved:
    """Replay steps, in which a free does not repeat the size."""
    sizes = {number: size for number, size in steps if size != FREE}
    events = [(number, -sizes[number] if size == FREE else size) for number, size in steps]
    return replay(events, capacity=capacity)


def fresh(*sizes: int) -> tuple[Allocator, list[Block]]:
    """Return an allocator with these blocks allocated."""
    allocator = Allocator()
    return allocator, [allocator.allocate(size) for size in sizes]


# Sizes and segments


@pytest.mark.parametrize(
    ("size", "allocated"),
    [
        (1, 512),
        (511, 512),
        (512, 512),
        (513, 2 * 512),
        (3 * 512 + 1, 4 * 512),
        (MIB - 1, MIB),
        (5 * MIB + 1, 5 * MIB + 512),
    ],
)
def test_sizes_are_rounded_to_512_bytes(size: int, allocated: int) -> None:
    found = taken((1, size))
    assert (found.requested_bytes, found.allocated_bytes) == (size, allocated)


def test_nothing_is_allocated_for_nothing() -> None:
    nothing = Reserved(requested_bytes=0, allocated_bytes=0, reserved_bytes=0)
    assert replay([]) == nothing
    assert replay([(1, 0), (1, 0)]) == nothing


@pytest.mark.parametrize(
    ("size", "segment"),
    [
        (1, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB - 511, 10 * MIB),  # the rounded size counts
        (10 * MIB, 10 * MIB),
        (10 * MIB + 1, 12 * MIB),
        (11 * MIB + 1, 12 * MIB),
        (12 * MIB, 12 * MIB),
        (12 * MIB + 1, 14 * MIB),
    ],
)
def test_segment(size: int, segment: int) -> None:
    assert taken((1, size)).reserved_bytes == segment


def test_small_ones_share_a_segment() -> None:
    full = 2 * MIB // UNIT
    ones = [(number, 1) for number in range(full + 1)]
    assert replay(ones[:full]) == Reserved(
        requested_bytes=full, allocated_bytes=full * UNIT, reserved_bytes=2 * MIB
    )
    assert replay(ones).reserved_bytes == 2 * MIB + 2 * MIB


def test_large_ones_share_a_segment() -> None:
    assert taken((1, 9 * MIB), (2, 9 * MIB)).reserved_bytes == 20 * MIB
    # Of the first 20 MiB, 2 are left.
    assert taken((1, 9 * MIB), (2, 9 * MIB), (3, 2 * MIB)).reserved_bytes == 20 * MIB
    assert taken((1, 9 * MIB), (2, 9 * MIB), (3, 3 * MIB)).reserved_bytes == 20 * MIB + 20 * MIB


def test_pools_share_no_segment() -> None:
    assert taken((1, 2 * MIB), (1, FREE), (2, MIB)).reserved_bytes == 20 * MIB + 2 * MIB
    assert taken((1, 1), (1, FREE), (2, 2 * MIB)).reserved_bytes == 2 * MIB + 20 * MIB


# Choice of a block, and its split


def test_the_smallest_hole_that_is_large_enough() -> None:
    allocator, blocks = fresh(4 * UNIT, 1, 2 * UNIT, 1, 3 * UNIT, 1)
    four, two, three = blocks[::2]
    for hole in (four, two, three):
        allocator.free(hole)
    # Units: 4 free, 1 taken, 2 free, 1 taken, 3 free, 1 taken.
    assert allocator.allocate(2 * UNIT).address == 5 * UNIT
    assert allocator.allocate(2 * UNIT).address == 8 * UNIT
    assert allocator.allocate(1 * UNIT).address == (8 + 2) * UNIT
    assert allocator.allocate(1 * UNIT).address == 0 * UNIT
    assert allocator.allocate(4 * UNIT).address == 12 * UNIT


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_of_equal_holes_the_lowest(order: tuple[int, ...]) -> None:
    allocator, blocks = fresh(*[3 * UNIT, 1] * 3)
    for at in order:
        allocator.free(blocks[2 * at])
    addresses = [allocator.allocate(3 * UNIT).address for _ in range(3)]
    assert addresses == [0, (3 + 1) * UNIT, 2 * (3 + 1) * UNIT]


def test_segments_lie_one_above_the_other() -> None:
    _, blocks = fresh(9 * MIB, 1, 16 * MIB, 1)
    assert [block.address for block in blocks] == [0, 20 * MIB, 22 * MIB, 20 * MIB + UNIT]


def test_small_pool_splits_off_all_that_is_left() -> None:
    steps = [(1, MIB), (2, MIB - UNIT), (3, UNIT)]
    assert taken(*steps) == Reserved(
        requested_bytes=2 * MIB, allocated_bytes=2 * MIB, reserved_bytes=2 * MIB
    )


@pytest.mark.parametrize("hole", [4 * MIB, 8 * MIB])
def test_large_pool_leaves_up_to_1_mib_with_the_block(hole: int) -> None:
    rest = 20 * MIB - hole
    allocator, blocks = fresh(hole, rest)
    allocator.free(blocks[0])
    assert allocator.allocate(hole - MIB).size == hole
    assert allocator.allocated.now == hole + rest

    allocator, blocks = fresh(hole, rest)
    allocator.free(blocks[0])
    assert allocator.allocate(hole - MIB - UNIT).size == hole - MIB - UNIT
    assert allocator.allocated.now == hole - MIB - UNIT + rest
    # The MiB and a unit that were split off hold a large tensor.
    assert allocator.allocate(MIB + UNIT).address == hole - MIB - UNIT


def test_a_segment_of_its_own_is_split_too() -> None:
    assert taken((1, 11 * MIB)).allocated_bytes == 12 * MIB
    assert taken((1, 11 * MIB - UNIT)).allocated_bytes == 11 * MIB - UNIT


# Freed blocks


@for_each("order", [*permutations([1, 2, 3, 4])])
def test_free_neighbours_are_one_hole(order: tuple[int, ...]) -> None:
    steps = [(1, 3 * MIB), (2, 4 * MIB), (3, 6 * MIB), (4, 7 * MIB)]
    steps += [(number, FREE) for number in order]
    assert taken(*steps, (5, 20 * MIB)).reserved_bytes == 20 * MIB


def test_a_hole_ends_where_a_block_is_taken() -> None:
    steps = [(1, 6 * MIB), (2, 6 * MIB), (3, 8 * MIB), (1, FREE), (3, FREE)]
    assert taken(*steps, (4, 8 * MIB), (5, 6 * MIB)).reserved_bytes == 20 * MIB
    assert taken(*steps, (4, 9 * MIB)).reserved_bytes == 20 * MIB + 20 * MIB


def test_segments_do_not_merge() -> None:
    steps = [(1, 20 * MIB), (2, 20 * MIB), (1, FREE), (2, FREE)]
    assert taken(*steps, (3, 40 * MIB)).reserved_bytes == 20 * MIB + 20 * MIB + 40 * MIB


def test_neighbours_are_known_after_a_split_in_the_middle() -> None:
    allocator, (low, middle, high) = fresh(6 * UNIT, 6 * UNIT, 6 * UNIT)
    allocator.free(middle)
    part = allocator.allocate(2 * UNIT)
    allocator.free(high)  # merges with the remainder of the part, and with the end of the segment
    assert allocator.allocate(MIB).address == (6 + 2) * UNIT
    allocator.free(low)
    allocator.free(part)
    assert allocator.allocate((6 + 2) * UNIT).address == 0


def test_of_equal_holes_the_one_beside_grows() -> None:
    allocator, (low, _, high, beside, _) = fresh(2 * UNIT, 1, 2 * UNIT, 1, 1)
    for block in (low, high, beside):
        allocator.free(block)
    assert allocator.allocate(2 * UNIT).address == 0
    assert allocator.allocate(3 * UNIT).address == (2 + 1) * UNIT


def test_segments_stay_reserved() -> None:
    allocator, blocks = fresh(16 * MIB, 1)
    for block in blocks:
        allocator.free(block)
    assert (allocator.requested.now, allocator.allocated.now) == (0, 0)
    assert allocator.reserved.now == 16 * MIB + 2 * MIB
    assert taken((1, 16 * MIB), (1, FREE), (2, 16 * MIB)).reserved_bytes == 16 * MIB
    assert taken((1, 16 * MIB), (1, FREE), (2, 18 * MIB)).reserved_bytes == 16 * MIB + 18 * MIB


def test_each_peak_has_its_instant() -> None:
    steps = [(1, 1), (2, 1), (3, 1), (1, FREE), (2, FREE), (3, FREE), (4, 2 * UNIT), (4, FREE)]
    assert taken(*steps, (5, 16 * MIB), (5, FREE)) == Reserved(
        requested_bytes=16 * MIB, allocated_bytes=16 * MIB, reserved_bytes=2 * MIB + 16 * MIB
    )
    assert taken(*steps) == Reserved(
        requested_bytes=2 * UNIT, allocated_bytes=3 * UNIT, reserved_bytes=2 * MIB
    )


def test_an_end_without_a_beginning() -> None:
    with pytest.raises(KeyError):
        replay([(1, UNIT), (2, -UNIT)])
    with pytest.raises(KeyError):
        replay([(1, UNIT), (1, -UNIT), (1, -UNIT)])


# Under a capacity


@pytest.mark.parametrize(("size", "segment"), [(1, 2 * MIB), (9 * MIB, 20 * MIB)])
def test_capacity_is_of_segments(size: int, segment: int) -> None:
    assert taken((1, size), capacity=segment).reserved_bytes == segment
    with pytest.raises(DoesNotFitError):
        taken((1, size), capacity=segment - 1)


def test_free_segments_of_both_pools_are_released() -> None:
    steps = [(1, 9 * MIB), (2, 1), (3, 16 * MIB), (1, FREE), (2, FREE), (3, FREE)]
    cached = 20 * MIB + 2 * MIB + 16 * MIB
    large, small = (4, cached), (4, 1)
    assert taken(*steps, large, capacity=cached).reserved_bytes == cached
    assert taken(*steps, small, capacity=cached).reserved_bytes == cached
    assert taken(*steps, large).reserved_bytes == cached + cached
    # The small segment was released too, so that a small tensor takes a new one.
    with pytest.raises(DoesNotFitError):
        taken(*steps, large, (5, 1), capacity=cached)


def test_segments_are_released_only_where_there_is_no_room() -> None:
    steps = [(1, 16 * MIB), (1, FREE), (2, 18 * MIB), (3, 16 * MIB)]
    assert taken(*steps[:3], capacity=(16 + 18) * MIB).reserved_bytes == (16 + 18) * MIB
    assert taken(*steps, capacity=(16 + 18) * MIB).reserved_bytes == (16 + 18) * MIB
    # One MiB less: the first segment is released, and the last tensor finds nothing.
    with pytest.raises(DoesNotFitError):
        taken(*steps, capacity=(16 + 18 - 1) * MIB)


def test_segments_in_use_are_not_released() -> None:
    held = [(1, 9 * MIB), (2, 2 * MIB), (3, 9 * MIB), (1, FREE), (3, FREE)]
    with pytest.raises(DoesNotFitError):
        taken(*held, (4, 10 * MIB), capacity=20 * MIB + 8 * MIB)
    assert taken(*held, (4, 10 * MIB), capacity=20 * MIB + 10 * MIB).reserved_bytes == 30 * MIB
    freed = [*held, (2, FREE), (4, 22 * MIB)]
    assert taken(*freed, capacity=22 * MIB).reserved_bytes == 22 * MIB


def test_a_hole_is_taken_though_the_capacity_is_full() -> None:
    steps = [(1, 9 * MIB), (2, 9 * MIB), (1, FREE), (3, 8 * MIB)]
    assert taken(*steps, capacity=20 * MIB).reserved_bytes == 20 * MIB


def test_what_is_said_where_it_does_not_fit() -> None:
    steps = [(1, 1), (2, 16 * MIB), (2, FREE), (3, 16 * MIB + 1)]
    size, segment, held = 16 * MIB + UNIT, 18 * MIB, 2 * MIB
    with pytest.raises(DoesNotFitError) as raised:
        taken(*steps, capacity=19 * MIB)
    assert str(raised.value) == (
        f"{size} bytes need a segment of {segment}, and {held} of the capacity of {19 * MIB} "
        "are in use"
    )


# All rules together


def events_at_random(seed: int) -> list[tuple[int, int]]:
    """Draw allocations of all magnitudes up to 32 MiB, freed in any order."""
    drawn = random.Random(seed)
    live: list[tuple[int, int]] = []
    events = []
    for number in range(700):
        # Round sizes leave round holes, and so equal ones and remainders of just 1 MiB.
        size = drawn.choice(
            [drawn.randint(1, 2 ** drawn.randint(1, 25)), MIB * drawn.randint(1, 12)]
        )
        events.append((number, size))
        live.append((number, -size))
        while len(live) > 25 or (live and drawn.random() < 0.45):
            events.append(live.pop(drawn.randrange(len(live))))
    return events


class Loops:
    """Allocator with the same rules but no free list: it searches the holes each time."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.segments: dict[int, tuple[int, bool]] = {}  # address -> (size, True if small)
        self.taken: set[tuple[int, int]] = set()  # from, to
        self.end = 0

    def holes(self, segment: int) -> list[tuple[int, int]]:
        """Return size and address of each hole in a segment."""
        end = segment + self.segments[segment][0]
        inside = sorted(span for span in self.taken if segment <= span[0] < end)
        edges = [segment, *(edge for span in inside for edge in span), end]
        return [(high - low, low) for low, high in zip(edges[::2], edges[1::2], strict=True)]

    def allocate(self, requested: int) -> tuple[int, int]:
        size = (requested + 511) // 512 * 512
        small = size <= MIB
        fitting = [
            hole
            for segment, (_, of_small) in self.segments.items()
            if of_small == small
            for hole in self.holes(segment)
            if hole[0] >= size
        ]
        length, address = min(fitting) if fitting else self.segment(size, small)
        if not small and length - size <= MIB:
            size = length
        self.taken.add((address, address + size))
        return address, address + size

    def segment(self, size: int, small: bool) -> tuple[int, int]:
        length = 2 * MIB
        if not small:
            length = 20 * MIB if size < 10 * MIB else (size + 2 * MIB - 1) // (2 * MIB) * 2 * MIB
        if self.reserved() + length > self.capacity:
            for address, (whole, _) in [*self.segments.items()]:
                if self.holes(address) == [(whole, address)]:
                    del self.segments[address]
        if self.reserved() + length > self.capacity:
            raise DoesNotFitError
        address, self.end = self.end, self.end + length
        self.segments[address] = length, small
        return length, address

    def reserved(self) -> int:
        return sum(size for size, _ in self.segments.values())


def given(allocate: Callable[[int], T], size: int) -> T | None:
    """Return the block allocated for a size, or None if it does not fit."""
    try:
        return allocate(size)
    except DoesNotFitError:
        return None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("capacity", [10**12, 180 * MIB, 80 * MIB])
def test_every_block_is_where_plain_loops_put_it(seed: int, capacity: int) -> None:
    allocator, loops = Allocator(capacity=capacity), Loops(capacity)
    live: dict[int, Block] = {}
    refused = 0
    for number, size in events_at_random(seed):
        if size > 0:
            block, span = given(allocator.allocate, size), given(loops.allocate, size)
            if block is None:
                assert span is None
                refused += 1
            else:
                assert (block.address, block.address + block.size) == span
                live[number] = block
        elif number in live:
            block = live.pop(number)
            loops.taken.remove((block.address, block.address + block.size))
            allocator.free(block)
        blocks = sorted((block.address, block.address + block.size) for block in live.values())
        assert blocks == sorted(loops.taken)
        assert all(one[1] <= other[0] for one, other in pairwise(blocks))
        assert allocator.allocated.now == sum(block.size for block in live.values())
        assert allocator.reserved.now == loops.reserved() <= capacity
        assert allocator.requested.now <= allocator.allocated.now <= allocator.reserved.now
    # Without a limit all fit, and with these not all.
    assert bool(refused) is (capacity != 10**12)
    for block in live.values():
        allocator.free(block)
    assert (allocator.requested.now, allocator.allocated.now) == (0, 0)
    # All blocks are merged again: any size within the capacity fits.
    everything = capacity // (2 * MIB) * (2 * MIB)
    assert allocator.allocate(everything).size == allocator.reserved.now == everything


def test_a_traced_step() -> None:
    options = {"tokens": 37, "dim": 24, "heads": 3}
    events = trace(specify("layer", options=options), Workload(batch=2)).events
    held = peak = 0
    for _, size in events:
        held += size
        peak = max(peak, held)
    found = replay(events)
    assert found.requested_bytes == peak
    assert found.reserved_bytes >= found.allocated_bytes >= found.requested_bytes
    assert replay(events, capacity=found.reserved_bytes) == found
