"""Measured times: calls take turns until the spread of each is small."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from statistics import quantiles
from typing import TYPE_CHECKING

from vitprof.progress import Say
from vitprof.values.options import Options, ratio, whole

if TYPE_CHECKING:
    import torch

TURN = 0.2  # minimum seconds of one call's turn
MIN_TURNS = 3
_SIDES = (512, 1024, 2048, 4096, 8192)
_COPIES = (64, 256, 1024, 4096)  # MiB
_LONG = 0.05  # seconds of a product; a larger one has no higher throughput


@dataclass(frozen=True, kw_only=True)
class Protocol(Options):
    """Conditions of a time measurement."""

    threads: int = whole(0, minimum=0, maximum=4096, help="CPU threads; 0 for PyTorch's default")
    spread: Fraction | float = ratio(
        "0.05",
        minimum="0.001",
        below="10",
        help="interquartile range over median at which measuring ends",
    )
    budget: int = whole(60, maximum=86_400, help="seconds after which no new turn begins")

    def __str__(self) -> str:
        return (
            f"all take turns of at least {TURN:g} s, each of one call that is not measured and at "
            f"least one that is; at least {MIN_TURNS} turns, until the interquartile range of "
            f"each is at most {float(self.spread):g} of its median or {self.budget} s have "
            "passed; the device is synchronised before and after"
        )


@dataclass(frozen=True, slots=True)
class Timing:
    """Measured times of one call, in seconds; at least two."""

    samples: tuple[float, ...]

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile, in seconds."""
        lower, median, upper = quantiles(self.samples, method="inclusive")
        return lower, median, upper

    @property
    def median(self) -> float:
        """Median, in seconds."""
        return self.quartiles[1]

    @property
    def spread(self) -> float:
        """Interquartile range over median, a ratio."""
        lower, median, upper = self.quartiles
        return (upper - lower) / median

    def record(self) -> dict[str, float | int]:
        """Return quartiles in seconds, spread and number of samples, by name."""
        lower, median, upper = self.quartiles
        return {
            "lower_quartile": lower,
            "median": median,
            "upper_quartile": upper,
            "spread": self.spread,
            "samples": len(self.samples),
        }


@dataclass(frozen=True, slots=True)
class MatrixProduct:
    """The fastest product of two square matrices.

    Attributes:
        side: rows, and columns, of each matrix.
        seconds: median time of one product.
    """

    side: int
    seconds: float

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates per second."""
        return self.side**3 / self.seconds


@dataclass(frozen=True, slots=True)
class Copy:
    """The fastest copy of a tensor.

    Attributes:
        mib: MiB of the tensor, which is read and written.
        seconds: median time of one copy.
    """

    mib: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """Bytes read and written per second."""
        return 2 * self.mib * 2**20 / self.seconds


def take_turns(
    calls: Mapping[str, Callable[[], object]],
    protocol: Protocol,
    *,
    say: Say,
    clock: Callable[[], float] | None = None,
) -> dict[str, Timing]:
    """Time calls, each of them in every turn, so that a slow phase of the machine affects all.

    Args:
        calls: functions to time, by name.
        protocol: threads, and when to stop.
        say: called with a line of progress.
        clock: returns seconds; None for PyTorch's timer, which synchronises the device first.

    Returns:
        Times in seconds, by name.
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
    """Return the product of square matrices with the highest throughput in MACs per second.

    Sizes grow until one product takes longer than `_LONG` seconds.
    """
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


def fastest_copy(
    device: torch.device, protocol: Protocol, *, say: Say, sizes: Sequence[int] = _COPIES
) -> Copy:
    """Return the copy with the highest throughput in bytes per second.

    Sizes grow until one copy takes longer than `_LONG` seconds, or the memory does not suffice.
    """
    import torch
    from torch.utils.benchmark import Timer

    copies: list[Copy] = []
    for mib in sizes:
        say(f"copy of {mib} MiB")
        try:
            source = torch.zeros(mib * 2**20, dtype=torch.uint8, device=device)
            operands = {"source": source, "target": torch.empty_like(source)}
        except torch.OutOfMemoryError:
            break
        timer = Timer("target.copy_(source)", globals=operands, num_threads=protocol.threads)
        copies.append(Copy(mib, timer.blocked_autorange(min_run_time=TURN).median))
        if copies[-1].seconds > _LONG:
            break
    return max(copies, key=lambda copy: copy.bytes_per_second)
