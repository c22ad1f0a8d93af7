"""The bytes that are held at each instant of a step, and the most that were.

An instant is an allocation. A storage is held from the instant at which it is allocated to
the last one at which something still refers to it; what lets go of it later says so by
`touch`. So nothing has to be counted while a step is followed, and what was held at any
instant is added up when it is over.
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
    """Memory, and from when to when it is held.

    Attributes:
        bytes: how many.
        sizes: the tensor that it was allocated for, by name.
        dtype: of that tensor, a key of `BYTES`.
        birth: the instant at which it was allocated.
        last: the last instant at which it was held.
        kind: one of `KINDS`.
        at: path of what allocated it, or keeps it.
        kinds: from which instant on it was which kind, and for whom, if that has changed.
        tensors: how many tensors that are held lie in it.
        skipped: how many blocks that were not followed it stands for; 0 if it was followed.
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
        """Of which kind it was at an instant, and for whom."""
        kind, at = self.kind, self.at
        for since, before, path in reversed(self.kinds or ()):
            if since > instant:
                kind, at = before, path
        return kind, at

    @property
    def size(self) -> Size:
        """Its bytes, by a formula with names."""
        if not self.dtype:
            return product(self.sizes)
        return product((*self.sizes, Size(BYTES[self.dtype])))


@dataclass(frozen=True, slots=True)
class Held:
    """A storage that is held at an instant.

    Attributes:
        size: bytes, by a formula.
        kind: one of `KINDS`.
        at: path of what it is held for.
    """

    size: Size
    kind: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The instant at which the most bytes were held in a phase.

    Attributes:
        bytes: how many.
        at: path of what was running.
        by_kind: the same bytes by what they are for.
        instant: which it was.
    """

    bytes: int
    at: str
    by_kind: dict[str, int]
    instant: int


class Timeline:
    """The storages of a step, by instants.

    Attributes:
        at: path of what is running.
        now: the last instant.
        storages: all that there were, as they were allocated.
        phases: the first instant of each phase and the first after it, by name.
    """

    def __init__(self) -> None:
        self.at = ""
        self.now = 0
        self.storages: list[Storage] = []
        self.phases: dict[str, tuple[int, int]] = {}
        self.paths = [""]  # of what ran at each instant

    def allocate(self, bytes: int, sizes: tuple[Size, ...], dtype: str) -> Storage:
        """Allocate memory, which is an instant of its own; of no bytes, it is none."""
        if not bytes:
            return Storage(0, sizes, dtype, self.now, "temporaries", self.at)
        self.now += 1
        self.paths.append(self.at)
        storage = Storage(bytes, sizes, dtype, self.now, "temporaries", self.at)
        self.storages.append(storage)
        return storage

    def there(self, size: Size, kind: str) -> Storage:
        """Memory that is there before the step, and after it."""
        storage = Storage(size.value, (size,), "", self.now, kind, self.at)
        storage.last = _FOR_EVER
        self.storages.append(storage)
        return storage

    def add(self, like: Storage, times: int, birth: int, last: int) -> None:
        """Book as many storages like another one, from one instant to another."""
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

    def turn(self, storage: Storage, kind: str) -> None:
        """Book a storage as another kind from the next instant on."""
        storage.kinds = [*(storage.kinds or ()), (self.now + 1, storage.kind, storage.at)]
        storage.kind, storage.at = kind, self.at

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note the instants of the body under a name, its beginning among them."""
        self.now += 1
        self.paths.append(self.at)
        begin = self.now
        yield
        self.phases[name] = (begin, self.now + 1)

    def levels(self) -> list[int]:
        """The bytes that are held at each instant."""
        steps = [0] * (self.now + 2)
        for storage in self.storages:
            steps[storage.birth] += storage.bytes
            steps[min(storage.last, self.now) + 1] -= storage.bytes
        return [*accumulate(steps)][: self.now + 1]

    def most(self) -> dict[str, int]:
        """The most bytes that are held at once, in each phase."""
        levels = self.levels()
        return {name: max(levels[begin:end]) for name, (begin, end) in self.phases.items()}

    def peaks(self) -> dict[str, Peak]:
        """The first instant of each phase at which the most bytes are held."""
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
        """What is held at an instant."""
        return tuple(
            Held(storage.size, *storage.at_instant(instant))
            for storage in self.storages
            if storage.birth <= instant <= storage.last
        )
