"""Timings in turns, with a fake clock, and the fastest matrix product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat
from typing import Any

import pytest
import torch

from vitprof.measuring import timing
from vitprof.measuring.timing import MIN_TURNS, Protocol, Timing, take_turns


class Clock:
    """A clock that advances only by the durations that calls report."""

    def __init__(self) -> None:
        self.now = 0.0
        self.made: list[str] = []

    def __call__(self) -> float:
        return self.now

    def call(self, name: str, seconds: Iterator[float]) -> Callable[[], None]:
        def pass_time() -> None:
            self.made.append(name)
            self.now += next(seconds)

        return pass_time

    def measure(self, calls: dict[str, Iterator[float]], **limits: Any) -> dict[str, Timing]:
        """Time calls of these durations; each turn begins with one call that is not measured."""
        made = {name: self.call(name, seconds) for name, seconds in calls.items()}
        protocol = Protocol(threads=1, **limits)
        return take_turns(made, protocol, say=lambda message: None, clock=self)


def test_turns() -> None:
    clock = Clock()
    timings = clock.measure({"a": repeat(1.0), "b": repeat(2.0)})
    assert clock.made == ["a", "a", "b", "b"] * MIN_TURNS
    assert timings == {"a": Timing((1.0,) * 3), "b": Timing((2.0,) * 3)}


def test_calls_that_warm_up_are_not_measured() -> None:
    assert Clock().measure({"a": cycle([5.0, 1.0])}) == {"a": Timing((1.0,) * 3)}


def test_short_calls_are_measured_many_at_a_time() -> None:
    clock = Clock()
    (timing,) = clock.measure({"a": repeat(1e-5)}).values()
    assert timing.quartiles == pytest.approx((1e-5,) * 3)
    assert clock.now > 3 * 0.2


def test_turns_end_when_the_spread_is_small() -> None:
    # Measured are 9, 1, 1, 1, ...: with five, three quarters are at most 1.
    seconds = chain([1.0, 9.0], repeat(1.0))
    timings = Clock().measure({"steady": repeat(1.0), "late": seconds})
    assert timings["late"].samples == (9.0, 1.0, 1.0, 1.0, 1.0)
    assert timings["steady"].samples == (1.0,) * 5


def test_turns_end_when_the_time_is_over() -> None:
    clock = Clock()
    (timing,) = clock.measure({"a": cycle([1.0, 1.0, 1.0, 3.0])}, budget=30).values()
    # Two turns take 6 s; the first turn after which 30 s are over is the tenth.
    assert (clock.now, len(timing.samples)) == (30.0, 10)
    assert timing.spread > 0.05


def test_three_turns_whatever_the_time() -> None:
    (timing,) = Clock().measure({"a": repeat(100.0)}, budget=1).values()
    assert timing.samples == (100.0,) * MIN_TURNS


def test_quartiles() -> None:
    timing = Timing((5.0, 1.0, 4.0, 2.0, 3.0))
    assert timing.quartiles == (2.0, 3.0, 4.0)
    assert timing.median == 3.0
    assert timing.spread == 2 / 3


def test_peak_is_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_SIDES", (8, 64, 16))
    monkeypatch.setattr(timing, "TURN", 0.001)
    seen: list[str] = []
    limits = Protocol(threads=1)
    peak = timing.fastest_product(torch.device("cpu"), torch.float32, limits, say=seen.append)
    assert [message.split()[2] for message in seen] == ["8", "64", "16"]
    assert peak.side == 64  # more work for the same call
    assert peak.macs_per_second == 64**3 / peak.seconds
    monkeypatch.setattr(timing, "_LONG", 0)
    seen.clear()
    timing.fastest_product(torch.device("cpu"), torch.float32, limits, say=seen.append)
    assert len(seen) == 1
