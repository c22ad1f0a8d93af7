"""Timeline of a step: the bytes that are held at each instant, and their peak.

An instant is an allocation. A storage is held from the instant at which it is allocated to
the last one at which something still refers to it; `touch` extends that to the present.
So nothing has to be counted while a step is followed: the bytes held at any instant are
summed when it is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate

from vitprof.values.size import Size, product

KINDS = ("parameters", "buffers", "gradients", "optimizer", "inputs", "saved", "temporaries")
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int64": 8, "bool": 1, "complex64": 8}

_FOR_EVER = 2**62


class Storage:
    """Storage, with the instants from which to which it is held.

    Attributes:
        bytes: its bytes.
        sizes: shape of the tensor that it was allocated for, by name.
        dtype: dtype of that tensor, a key of `BYTES`.
        birth: the instant at which it was allocated.
        last: the last instant at which it was held.
        kind: one of `KINDS`.
        at: path of the op that allocated it, or saves it.
        kinds: earlier kinds and paths, each with the first instant after it; None if none.
        tensors: number of held tensors that are views of it.
        skipped: number of skipped blocks that it is booked for; 0 if it was followed.
    """

    __slots__ = (
        *("at", "birth", "bytes", "dtype", "kind", "kinds", "last", "sizes"),
        *("skipped", "tensors"),
    )

    def __init__(
        self, bytes: int, sizes: tuple[Size, ...], dtype: str, birth: int, kind: str, at: str
    ) -> None:
        self.bytes = bytes
        self.sizes = sizes
        self.dtype = dtype
        self.birth = self.last = birth
        self.kind = kind
        self.at = at
        self.kinds: list[tuple[int, str, str]] | None = None
        self.tensors = 0
        self.skipped = 0

    def at_instant(self, instant: int) -> tuple[str, str]:
        """Return kind and path of the storage at an instant."""
        kind, at = self.kind, self.at
        for since, before, path in reversed(self.kinds or ()):
            if since > instant:
                kind, at = before, path
        return kind, at

    @property
    def size(self) -> Size:
        """Bytes, by a formula with names."""
        if not self.dtype:
            return product(self.sizes)
        return product((*self.sizes, Size(BYTES[self.dtype])))


@dataclass(frozen=True, slots=True)
class Held:
    """Storage that is held at an instant.

    Attributes:
        size: bytes, by a formula.
        kind: one of `KINDS`.
        at: path of the op that it is held for.
    """

    size: Size
    kind: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Peak of a phase.

    Attributes:
        bytes: bytes that are held.
        at: path of the op that runs.
        by_kind: the same bytes by kind.
        instant: the first instant at which they are held.
    """

    bytes: int
    at: str
    by_kind: dict[str, int]
    instant: int


class Timeline:
    """Storages of a step, by instants.

    Attributes:
        at: path of the op that runs.
        now: the last instant.
        storages: all storages, in the order of their allocation.
        phases: the first instant of each phase and the first after it, by name.
    """

    def __init__(self) -> None:
        self.at = ""
        self.now = 0
        self.storages: list[Storage] = []
        self.phases: dict[str, tuple[int, int]] = {}
        self.paths = [""]  # of the op that ran at each instant

    def allocate(self, bytes: int, sizes: tuple[Size, ...], dtype: str) -> Storage:
        """Allocate memory at a new instant; 0 bytes make no instant."""
        if not bytes:
            return Storage(0, sizes, dtype, self.now, "temporaries", self.at)
        self.now += 1
        self.paths.append(self.at)
        storage = Storage(bytes, sizes, dtype, self.now, "temporaries", self.at)
        self.storages.append(storage)
        return storage

    def there(self, size: Size, kind: str) -> Storage:
        """Book memory that is there before the step, and after it."""
        storage = Storage(size.value, (size,), "", self.now, kind, self.at)
        storage.last = _FOR_EVER
        self.storages.append(storage)
        return storage

    def add(self, like: Storage, times: int, birth: int, last: int) -> None:
        """Book `times` storages like another one, from one instant to another."""
        sizes = (*like.sizes, Size(times))
        made = Storage(times * like.bytes, sizes, like.dtype, birth, like.kind, like.at)
        made.last = last
        made.skipped = times
        self.storages.append(made)

    def touch(self, storage: Storage) -> None:
        """Note that a storage is held until now."""
        if storage.last < self.now:
            storage.last = self.now

    def keep(self, storage: Storage) -> None:
        """Note that a storage is held to the end of the step, and after it."""
        storage.last = _FOR_EVER

    def book_as(self, storage: Storage, kind: str) -> None:
        """Book a storage as another kind from the next instant on, for the op that runs."""
        storage.kinds = [*(storage.kinds or ()), (self.now + 1, storage.kind, storage.at)]
        storage.kind, storage.at = kind, self.at

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note the instants of the body under a name, its beginning included."""
        self.now += 1
        self.paths.append(self.at)
        begin = self.now
        yield
        self.phases[name] = (begin, self.now + 1)

    def levels(self) -> list[int]:
        """Return the bytes that are held at each instant."""
        steps = [0] * (self.now + 2)
        for storage in self.storages:
            steps[storage.birth] += storage.bytes
            steps[min(storage.last, self.now) + 1] -= storage.bytes
        return [*accumulate(steps)][: self.now + 1]

    def most(self) -> dict[str, int]:
        """Return the most bytes that are held at once, in each phase."""
        levels = self.levels()
        return {name: max(levels[begin:end]) for name, (begin, end) in self.phases.items()}

    def peaks(self) -> dict[str, Peak]:
        """Return the peak of each phase."""
        levels = self.levels()
        found = {}
        for name, (begin, end) in self.phases.items():
            most = max(levels[begin:end])
            instant = levels.index(most, begin)
            by_kind = dict.fromkeys(KINDS, 0)
            for storage in self.storages:
                if storage.birth <= instant <= storage.last:
                    by_kind[storage.at_instant(instant)[0]] += storage.bytes
            found[name] = Peak(bytes=most, at=self.paths[instant], by_kind=by_kind, instant=instant)
        return found

    def held(self, instant: int) -> tuple[Held, ...]:
        """Return the storages that are held at an instant."""
        return tuple(
            Held(storage.size, *storage.at_instant(instant))
            for storage in self.storages
            if storage.birth <= instant <= storage.last
        )
