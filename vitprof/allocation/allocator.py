"""Memory that a GPU reserves for the tensors of a step, by PyTorch's native caching allocator.

The rules are those of PyTorch's `c10/cuda/CUDACachingAllocator.cpp` with the default
settings; newer versions keep the sizes in `c10/core/AllocatorConfig.h`:

- A size is rounded up to a multiple of 512 bytes; nothing is allocated for 0 bytes.
- A size up to 1 MiB is allocated in the small pool, a larger one in the large pool.
- It takes the smallest free block of its pool that holds it, of equals the one at the
  lowest address. If there is none, the driver is asked for a segment: 2 MiB in the small
  pool; in the large pool 20 MiB below 10 MiB, and else a multiple of 2 MiB.
- The remainder of the block is split off, in the large pool only if it is more than
  1 MiB. A remainder that stays is counted as allocated.
- A block that is freed merges with its free neighbours in the segment. The segment stays
  reserved.
- If the driver has no memory for a segment, those of both pools that are wholly free are
  released to it, and it is asked once more.

Left out, since an eager step on one GPU does not use them: several streams, `max_split_size`
and the other settings, expandable segments, the pools of CUDA graphs. The memory of the CUDA
context, and memory that is not allocated through PyTorch, is not included. The driver chooses
the addresses; here each new segment has a higher address than all before it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

_MIB = 2**20
_UNIT = 512  # every block is a multiple of it
_SMALL = 1 * _MIB  # the largest size of the small pool
_SMALL_SEGMENT = 2 * _MIB
_SHARED_SEGMENT = 20 * _MIB  # for sizes of the large pool below _OWN_SEGMENT
_OWN_SEGMENT = 10 * _MIB
_SEGMENT_UNIT = 2 * _MIB


class DoesNotFitError(Exception):
    """Error of an allocation that exceeds the capacity, even with all caches released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """Most bytes that a sequence of allocations took on the GPU.

    The three peaks need not be of the same instant.

    Attributes:
        requested_bytes: bytes that were requested for tensors.
        allocated_bytes: their blocks, as `torch.cuda.max_memory_allocated` counts them.
        reserved_bytes: the segments, as `torch.cuda.max_memory_reserved` counts them.
    """

    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int


def replay(events: Iterable[tuple[int, int]], *, capacity: int | None = None) -> Reserved:
    """Allocate and free in the order of `events`.

    Args:
        events: number of an allocation, and its bytes, negative if it is freed; as in
            `vitprof.running.trace.Trace.events`.
        capacity: bytes that the segments may take together; None sets no limit.

    Raises:
        DoesNotFitError: an allocation needs a segment for which the capacity does not suffice.
        KeyError: an allocation is freed that is not live.
    """
    allocator = Allocator(capacity=capacity)
    live: dict[int, Block] = {}
    for number, size in events:
        if size > 0:
            live[number] = allocator.allocate(size)
        elif size < 0:
            allocator.free(live.pop(number))
    return Reserved(
        requested_bytes=allocator.requested.peak,
        allocated_bytes=allocator.allocated.peak,
        reserved_bytes=allocator.reserved.peak,
    )


@dataclass(slots=True)
class Level:
    """Number of bytes, and its peak."""

    now: int = 0
    peak: int = 0

    def change(self, by: int) -> None:
        """Add bytes, or subtract them if `by` is negative."""
        self.now += by
        self.peak = max(self.peak, self.now)


@dataclass(slots=True, eq=False)
class Block:
    """Part of a segment, free or allocated as a whole.

    Attributes:
        address: bytes from the start of the first segment.
        size: bytes.
        pool: the pool of its segment.
        requested: bytes that were requested, if it is allocated.
        before, after: its neighbours in the segment.
    """

    address: int
    size: int
    pool: Pool
    requested: int = 0
    before: Block | None = None
    after: Block | None = None


class Allocator:
    """Caching allocator, which allocates blocks of segments and keeps the segments.

    Attributes:
        requested: bytes that were requested.
        allocated: bytes of the blocks that are allocated.
        reserved: bytes of the segments.
    """

    def __init__(self, *, capacity: int | None = None) -> None:
        self.requested = Level()
        self.allocated = Level()
        self.reserved = Level()
        self._capacity = capacity
        self._end = 0  # of the segment with the highest address so far
        self._small = Pool(unsplit=0)
        self._large = Pool(unsplit=1 * _MIB)

    def allocate(self, requested: int) -> Block:
        """Allocate a block of at least `requested` bytes, 1 or more.

        Raises:
            DoesNotFitError: it needs a segment for which the capacity does not suffice.
        """
        size = _up(requested, _UNIT)
        pool = self._small if size <= _SMALL else self._large
        block = pool.take(size) or self._segment(size, pool)
        pool.split(block, size)
        block.requested = requested
        self.requested.change(requested)
        self.allocated.change(block.size)
        return block

    def free(self, block: Block) -> None:
        """Free a block that was allocated."""
        self.requested.change(-block.requested)
        self.allocated.change(-block.size)
        block.pool.put(block)

    def _segment(self, size: int, pool: Pool) -> Block:
        segment = _segment_bytes(size)
        if not self._has_room(segment):
            self.reserved.change(-self._large.release() - self._small.release())
        if not self._has_room(segment):
            raise DoesNotFitError(
                f"{size} bytes need a segment of {segment}, and {self.reserved.now} of the "
                f"capacity of {self._capacity} are in use"
            )
        self.reserved.change(segment)
        self._end += segment
        return Block(self._end - segment, segment, pool)

    def _has_room(self, segment: int) -> bool:
        return self._capacity is None or self.reserved.now + segment <= self._capacity


class Pool:
    """Free blocks of the segments for small sizes, or of those for large ones."""

    def __init__(self, *, unsplit: int) -> None:
        self._unsplit = unsplit  # the largest remainder that stays in a block
        self._order: list[tuple[int, int]] = []  # size and address: the best fit comes first
        self._free: dict[int, Block] = {}  # by address

    def take(self, size: int) -> Block | None:
        """Remove and return the best fit for `size` bytes."""
        at = bisect_left(self._order, (size, 0))
        if at == len(self._order):
            return None
        _, address = self._order.pop(at)
        return self._free.pop(address)

    def split(self, block: Block, size: int) -> None:
        """Shorten `block` to `size` bytes, and insert the remainder if it is large enough."""
        left = block.size - size
        if left <= self._unsplit:
            return
        rest = Block(block.address + size, left, self, before=block, after=block.after)
        if rest.after is not None:
            rest.after.before = rest
        block.size, block.after = size, rest
        self._insert(rest)

    def put(self, block: Block) -> None:
        """Insert a block, merged with its free neighbours."""
        if block.before is not None and self._remove(block.before):
            block = _merge(block.before, block)
        if block.after is not None and self._remove(block.after):
            block = _merge(block, block.after)
        self._insert(block)

    def release(self) -> int:
        """Drop the blocks that are whole segments, and return their bytes."""
        whole = [b for b in self._free.values() if b.before is None and b.after is None]
        for block in whole:
            self._remove(block)
        return sum(block.size for block in whole)

    def _insert(self, block: Block) -> None:
        insort(self._order, (block.size, block.address))
        self._free[block.address] = block

    def _remove(self, block: Block) -> bool:
        """Remove a block; return True if it was one of the free ones."""
        if self._free.pop(block.address, None) is None:
            return False
        del self._order[bisect_left(self._order, (block.size, block.address))]
        return True


def _up(size: int, unit: int) -> int:
    """Round up to a multiple."""
    return -(-size // unit) * unit


def _segment_bytes(size: int) -> int:
    """Return bytes of the segment that is reserved if no free block holds `size` bytes."""
    if size <= _SMALL:
        return _SMALL_SEGMENT
    if size < _OWN_SEGMENT:
        return _SHARED_SEGMENT
    return _up(size, _SEGMENT_UNIT)


def _merge(before: Block, after: Block) -> Block:
    """Merge two neighbouring blocks."""
    before.size += after.size
    before.after = after.after
    if before.after is not None:
        before.after.before = before
    return before
