"""Reports that are made in several threads at once, and what is left of them in the process."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as torch_module

import vitprof
from vitprof.exclusive import exclusive
from vitprof.report.base import Report

THREADS = 8


class Waiting(nn.Module):
    """A module of another thread: it is entered, and left when `leave` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.leave = Event(), Event()

    def forward(self) -> None:
        self.entered.set()
        self.leave.wait(10)


class Inner(nn.Module):
    """A product of its own, during which `Waiting` may be left."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 5))

    def forward(self, x: Tensor) -> Tensor:
        if Calls.thread is not None:
            Calls.waiting.leave.set()
            Calls.thread.join()
        return functional.linear(x, self.weight)


class Calls(nn.Module):
    """A module whose forward pass begins while another thread is in `Waiting`, if it `waits`."""

    waiting: ClassVar[Waiting]
    thread: ClassVar[Thread | None]

    def __init__(self, *, waits: bool) -> None:
        super().__init__()
        self.inner = Inner()
        self.waits = waits

    def forward(self, x: Tensor) -> Tensor:
        Calls.thread = None
        if self.waits:
            Calls.waiting = Waiting()
            Calls.thread = Thread(target=Calls.waiting, daemon=True)
            Calls.thread.start()
            Calls.waiting.entered.wait(10)
        y: Tensor = self.inner(x)
        return y


def state() -> dict[str, object]:
    """Return what a reading changes in the process while it lasts."""
    return {
        "hooks": {
            name: len(value)
            for name, value in vars(torch_module).items()
            if "_hook" in name and isinstance(value, dict)
        },
        "filters": list(warnings.filters),
        "streams": (sys.stdout, sys.stderr),
        "logging": logging.root.manager.disable,
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "path": list(sys.path),
    }


JOBS: tuple[Callable[[int], Report], ...] = (
    lambda n: vitprof.macs("layer", mixer="attn", tokens=40 + n, dim=24, heads=4),
    lambda n: vitprof.macs("layer", mixer="lambda", tokens=40 + n, dim=24, heads=4),
    lambda n: vitprof.params("classifier", depth=1 + n),
    lambda n: vitprof.macs(nn.Sequential(nn.Linear(5 + n, 3), nn.ReLU()), (2, 5 + n)),
    lambda n: vitprof.memory("layer", tokens=4 + n, dim=8, heads=2, trace=True),
)


def test_readings_of_threads_exclude_each_other() -> None:
    jobs = [(JOBS[n % len(JOBS)], n) for n in range(2 * THREADS)]
    alone = [job(n).to_json() for job, n in jobs]
    before, together = state(), Barrier(THREADS)

    def several(first: int) -> list[Report]:
        together.wait()
        return [job(n) for job, n in jobs[first::THREADS]]

    with ThreadPoolExecutor(THREADS) as pool:
        found = [*pool.map(several, range(THREADS))]
    assert state() == before
    for first, reports in enumerate(found):
        assert [report.complaint for report in reports] == [""] * len(reports)
        assert [report.to_json() for report in reports] == alone[first::THREADS]


def test_modules_that_another_thread_calls_are_none_of_the_captured_ones() -> None:
    found, alone = (
        vitprof.macs(Calls(waits=waits), (2, 5), counters=["analytic"]) for waits in (True, False)
    )
    assert found.to_json() == alone.to_json()


def test_a_thread_may_enter_again_and_leaves_by_an_error() -> None:
    left = []

    def enter() -> None:
        try:
            with exclusive(), exclusive():
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            left.append(True)

    for _ in range(2):
        thread = Thread(target=enter, daemon=True)
        thread.start()
        thread.join(10)
    assert left == [True, True]
