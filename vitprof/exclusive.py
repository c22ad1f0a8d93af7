"""One thread at a time in what changes the state of the whole process.

Torch's global module hooks and default dtype, warning filters, standard streams, logging and the
settings of matplotlib and plotext belong to the process. Each place that changes them does so
within `exclusive`, and restores them there, so that no thread sees or restores another's changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_LOCK = RLock()  # a reading captures a module, which builds it: a thread may enter again


@contextmanager
def exclusive() -> Iterator[None]:
    """Run the body while no other thread is within `exclusive`; usable as a decorator."""
    with _LOCK:
        yield
