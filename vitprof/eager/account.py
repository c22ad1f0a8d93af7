"""The bytes that are held at a time, and the most that were.

A storage is counted from its allocation until nothing refers to it any more, as PyTorch's
allocators and `vitprof.modules.trace` do. Nothing is allocated here: a storage is a size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from vitprof.formulas.size import Size

KINDS = ("parameters", "buffers", "gradients", "optimizer", "inputs", "saved", "temporaries")


@dataclass(slots=True)
class Entry:
    """What is booked of a storage.

    Attributes:
        size: bytes.
        kind: one of `KINDS`.
        at: the path of the op that allocated it, or keeps it.
    """

    size: Size
    kind: str
    at: str


class Storage:
    """Memory that is held for as long as something refers to this object."""

    __slots__ = ("_account", "entry")

    def __init__(self, account: Account, entry: Entry) -> None:
        self._account = account
        self.entry = entry

    def __del__(self) -> None:
        self._account.free(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The instant at which the most bytes were held in a phase.

    Attributes:
        bytes: how many.
        at: the path of the op that was running.
        by_kind: the same bytes by what they are for.
        instant: how many allocations were looked at before it.
    """

    bytes: int
    at: str
    by_kind: dict[str, int]
    instant: int


class Account:
    """Books storages by kind and by phase.

    Attributes:
        at: path of the op that is running.
        held: what is held now.
        by_kind: its bytes by kind.
        peaks: the peak of each phase.
        snapshot: what was held at the instant that was asked for.
    """

    def __init__(self, *, instant: int | None = None) -> None:
        self.at = ""
        self.held: dict[int, Entry] = {}
        self.by_kind = dict.fromkeys(KINDS, 0)
        self.peaks: dict[str, Peak] = {}
        self.snapshot: tuple[Entry, ...] = ()
        self._instant = instant
        self._looked = 0
        self._phase = ""

    def allocate(self, size: Size, kind: str = "temporaries") -> Storage:
        """Hold `size` bytes, and look whether they are the most until now."""
        storage = self.hold(size, kind)
        self._look()
        return storage

    def hold(self, size: Size, kind: str) -> Storage:
        """Hold `size` bytes that nobody looks at by themselves."""
        storage = Storage(self, Entry(size, kind, self.at))
        self.held[id(storage)] = storage.entry
        self.by_kind[kind] += size.value
        return storage

    def turn(self, storage: Storage, kind: str) -> None:
        """Book a storage as another kind from now on."""
        entry = storage.entry
        self.by_kind[entry.kind] -= entry.size.value
        entry.kind, entry.at = kind, self.at
        self.by_kind[kind] += entry.size.value

    def free(self, storage: Storage) -> None:
        """Hold a storage no longer."""
        entry = self.held.pop(id(storage))
        self.by_kind[entry.kind] -= entry.size.value

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note the peak of the body under a name."""
        self._phase = name
        self._look()
        yield
        self._phase = ""

    def _look(self) -> None:
        if not self._phase:
            return
        if self._looked == self._instant:
            self.snapshot = tuple(replace(entry) for entry in self.held.values())
        total = sum(self.by_kind.values())
        peak = self.peaks.get(self._phase)
        if peak is None or total > peak.bytes:
            self.peaks[self._phase] = Peak(
                bytes=total, at=self.at, by_kind=dict(self.by_kind), instant=self._looked
            )
        self._looked += 1
