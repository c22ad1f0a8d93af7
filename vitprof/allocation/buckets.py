"""Gradient buckets of DistributedDataParallel (Li et al. 2020, section 3.2.3)."""

from __future__ import annotations

from collections.abc import Sequence

_MIB = 2**20
FIRST = 1 * _MIB  # `kDefaultFirstBucketBytes` in reducer.hpp
CAP = 25 * _MIB  # `kDefaultBucketBytesCap`


def buckets(sizes: Sequence[int]) -> list[list[int]]:
    """Put gradients into buckets, each of which is one allocation.

    A bucket takes gradients until they reach its limit, 1 MiB for the first and 25 MiB for the
    others, so that the last one may go beyond it (`compute_bucket_assignment_by_size` in
    reducer.cpp). From the second step on the order is that in which gradients are ready; here it
    is taken to be the reverse order of the parameters.

    Args:
        sizes: bytes of each trained parameter, in the module's order.

    Returns:
        Indices into `sizes` of the gradients of each bucket.
    """
    found: list[list[int]] = []
    held: list[int] = []
    total = 0
    for place in reversed(range(len(sizes))):
        held.append(place)
        total += sizes[place]
        if total >= (CAP if found else FIRST):
            found.append(held)
            held, total = [], 0
    return [*found, held] if held else found
