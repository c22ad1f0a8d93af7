"""MeasuredModel times: calls take turns until the spread of each is small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from statistics import quantiles
from typing import TYPE_CHECKING

from vitprof.progress import Say
from vitprof.values.options import Options, ratio, whole

if TYPE_CHECKING:
    import torch

TURN = 0.2  # least seconds of one call's turn
MIN_TURNS = 3
_SIDES = (512, 1024, 2048, 4096, 8192)
_LONG = 0.05  # seconds of a product, after which a larger one is no faster


@dataclass(frozen=True, kw_only=True)
class Protocol(Options):
    """How long is measured."""

    threads: int = whole(
        0, minimum=0, maximum=4096, help="threads of the CPU; 0 takes as many as PyTorch does"
    )
    spread: Fraction = ratio(
        "0.05",
        minimum="0.001",
        below="10",
        help="interquartile range over median that is small enough",
    )
    budget: int = whole(60, maximum=86_400, help="seconds after which no further turn begins")

    def __str__(self) -> str:
        return (
            f"all take turns of at least {TURN:g} s, each of one measured call or more after "
            f"one that is not measured; at least {MIN_TURNS} turns, until the interquartile "
            f"range of each is at most {float(self.spread):g} of its median or {self.budget} s "
            "are over; the device is synchronised before and after"
        )


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one call, measured several times; at least twice."""

    samples: tuple[float, ...]

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile, in seconds."""
        lower, median, upper = quantiles(self.samples, method="inclusive")
        return lower, median, upper

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return self.quartiles[1]

    @property
    def spread(self) -> float:
        """The interquartile range over the median."""
        lower, median, upper = self.quartiles
        return (upper - lower) / median


@dataclass(frozen=True, slots=True)
class MatrixProduct:
    """The fastest product of two square matrices.

    Attributes:
        side: rows and columns of each.
        seconds: the median time of one product.
    """

    side: int
    seconds: float

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates in a second."""
        return self.side**3 / self.seconds


def take_turns(
    calls: Mapping[str, Callable[[], object]],
    protocol: Protocol,
    *,
    say: Say,
    clock: Callable[[], float] | None = None,
) -> dict[str, Timing]:
    """Time calls, all of them in every turn, so that a slow minute slows them all.

    Args:
        calls: what to time, by name.
        protocol: how long.
        say: told what is being done.
        clock: seconds; None takes PyTorch's, which waits for the device first.
    """
    from torch.utils.benchmark import Timer, timer

    clock = clock or timer
    timers = {
        name: Timer("call()", globals={"call": call}, num_threads=protocol.threads, timer=clock)
        for name, call in calls.items()
    }
    samples: dict[str, tuple[float, ...]] = dict.fromkeys(calls, ())
    begin = clock()
    for turn in count(1):
        for name, one in timers.items():
            say(f"turn {turn}: {name}")
            measurement = one.blocked_autorange(min_run_time=TURN)
            samples[name] += tuple(measurement.times)
        if turn < MIN_TURNS:
            continue
        timings = {name: Timing(measured) for name, measured in samples.items()}
        settled = all(timing.spread <= protocol.spread for timing in timings.values())
        if settled or clock() - begin >= protocol.budget:
            break
    return timings


def fastest_product(
    device: torch.device, dtype: torch.dtype, protocol: Protocol, *, say: Say
) -> MatrixProduct:
    """The fastest of products of square matrices, ever larger until one takes long."""
    import torch
    from torch.utils.benchmark import Timer

    peaks = []
    for side in _SIDES:
        say(f"product of {side} × {side} matrices")
        left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        operands = {"left": left, "right": right}
        timer = Timer("left @ right", globals=operands, num_threads=protocol.threads)
        peaks.append(MatrixProduct(side, timer.blocked_autorange(min_run_time=TURN).median))
        if peaks[-1].seconds > _LONG:
            break
    return max(peaks, key=lambda peak: peak.macs_per_second)
