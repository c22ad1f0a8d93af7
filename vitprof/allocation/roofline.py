"""Time of a step on paper, by a roofline (Williams et al. 2009).

A kernel takes the larger of its multiply-accumulates over the rate of products and its bytes over
the bandwidth, and a gap. A step takes the larger of the sum of its kernels and the time of the
host, since the host runs ahead of the GPU if it can.

The host takes its time for functions of ATen, whether a kernel runs or not: a view costs it as much
as a product. What autograd records in the forward pass has a function in the backward pass, which
takes twice as long, since it calls two others in the mean; so has each gradient that arrives at a
parameter. The optimizer goes through the parameters in Python, and checkpointing through what it
recomputes, with what is saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from vitprof.allocation.launches import Kind, Launch, Product
from vitprof.allocation.timeline import BYTES
from vitprof.cuda.speed import Speed

if TYPE_CHECKING:
    from vitprof.request.workload import Workload

TILE = 128  # rows, and columns, of a tile of a product
_SMALLER = (32, 64, TILE)
_SPLITS = (1, 2, 4, 8, 16)
_LEAST_TERMS = 64  # of a sum that is cut
_HEAD = 64  # channels of a head, and keys, that fused attention computes at a time
_FILL = 64  # terms of a sum that a tile takes the time of beside its own
_BACKWARD = 2  # time on the host of a function of the backward pass, in that of a forward one


class Bound(StrEnum):
    """A limit of a time."""

    COMPUTE = "compute"  # the rate of products
    MEMORY = "memory"  # the bandwidth
    LAUNCHES = "launches"  # the gap between kernels, or the host


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of some kernels; costs add.

    Attributes:
        device: seconds on the GPU.
        host: seconds that the host needs to launch them.
        by_bound: the same seconds on the GPU, by what bounds each kernel.
        launches: number of kernels.
        macs: multiply-accumulates.
        read: bytes read.
        written: bytes written.
    """

    device: float = 0.0
    host: float = 0.0
    by_bound: Mapping[Bound, float] = field(default_factory=dict)
    launches: int = 0
    macs: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: Cost) -> Cost:
        bounds = {
            bound: self.by_bound.get(bound, 0.0) + other.by_bound.get(bound, 0.0)
            for bound in (*self.by_bound, *other.by_bound)
        }
        return Cost(
            self.device + other.device,
            self.host + other.host,
            bounds,
            self.launches + other.launches,
            self.macs + other.macs,
            self.read + other.read,
            self.written + other.written,
        )

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.read + self.written

    @property
    def bound(self) -> Bound:
        """Bound of most of the time on the GPU."""
        return max(self.by_bound, key=lambda bound: self.by_bound[bound], default=Bound.LAUNCHES)


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum of costs."""
    return sum(costs, start=Cost())


@lru_cache(4096)
def efficiency(product: Product, multiprocessors: int) -> float:
    """Return the share of the rate of large products that a product reaches by its size.

    Its result is cut into tiles of 128 x 128, which the multiprocessors take one each, in rounds:
    those that have no tile in the last round wait. A tile takes as long as 64 more terms of its
    sums, to fill its pipeline and to write its result. Long sums are cut in two, four, ... up to
    sixteen where that is faster.

    Args:
        product: the product.
        multiprocessors: of the GPU, each of which takes a tile at a time.
    """
    rows, columns = _tile(product.rows), _tile(product.columns)
    down, across = -(-product.rows // rows), -(-product.columns // columns)
    used = product.rows * product.columns / (down * rows * across * columns)
    best = 0.0
    for splits in _SPLITS:
        terms = product.inner / splits
        if splits > 1 and terms < _LEAST_TERMS:
            break
        tiles = product.batch * down * across * splits
        rounds = -(-tiles // multiprocessors)
        best = max(best, tiles / (rounds * multiprocessors) * terms / (terms + _FILL))
    return used * best


def _tile(size: int) -> int:
    return next((tile for tile in _SMALLER if size <= tile), TILE)


def kernel(launch: Launch, speed: Speed) -> tuple[float, Bound]:
    """Return the seconds that a kernel takes on the GPU, and what bounds them."""
    dtype = launch.dtype if launch.dtype in speed.products else "fp32"
    memory = launch.bytes / (speed.copy * _reached(launch, dtype, speed))
    compute = launch.macs and _compute(launch, dtype, speed)
    seconds, bound = max((memory, Bound.MEMORY), (compute, Bound.COMPUTE))
    return seconds + speed.gap, bound if seconds >= speed.gap else Bound.LAUNCHES


def _reached(launch: Launch, dtype: str, speed: Speed) -> float:
    """Return the share of the ceilings that a kernel reaches."""
    wide = dtype == "fp32" and launch.kind not in (Kind.OPTIMIZER, Kind.ATTENTION, Kind.CONVOLUTION)
    return 1.0 if wide else speed.share


def _compute(launch: Launch, dtype: str, speed: Speed) -> float:
    """Return the seconds of the contractions of a kernel."""
    rate = speed.products[dtype]
    if launch.kind is Kind.DEPTHWISE:
        return launch.macs / (rate * speed.depthwise)
    if launch.kind is Kind.ONE_CHANNEL:
        if len(launch.products) > 1:  # gradients, which read an element of a window for each MAC
            return launch.macs * BYTES[dtype] / (speed.copy * speed.windows)
        return launch.macs / (speed.products["fp32"] * speed.one_channel)
    reached = _reached(launch, dtype, speed)
    if launch.kind is Kind.ATTENTION:
        return sum(map(_in_heads, launch.products)) / (rate * reached)
    if launch.kind is Kind.CONVOLUTION:
        rate = speed.convolutions[dtype]
    return sum(
        one.macs / (rate * reached * efficiency(one, speed.multiprocessors))
        for one in launch.products
    )


def _in_heads(product: Product) -> int:
    """Return the multiply-accumulates of fused attention, whose kernels pad channels and keys."""
    inner, columns = (-(-size // _HEAD) * _HEAD for size in (product.inner, product.columns))
    return product.batch * product.rows * inner * columns


@dataclass(frozen=True, slots=True)
class StepTime:
    """Time of a step.

    Attributes:
        phases: costs by phase and path: forward, backward, optimizer.
    """

    phases: Mapping[str, Mapping[str, Cost]]

    @property
    def whole(self) -> Cost:
        """Cost of all kernels."""
        return total(self.of(phase) for phase in self.phases)

    def of(self, phase: str) -> Cost:
        """Return the cost of a phase."""
        return total(self.phases[phase].values())

    @property
    def waits_for_host(self) -> bool:
        """True if the host needs longer than the GPU."""
        whole = self.whole
        return whole.host > whole.device

    @property
    def seconds(self) -> float:
        """Time of the step."""
        whole = self.whole
        return max(whole.host, whole.device)


def step_time(
    batches: Sequence[tuple[int, Mapping[str, Sequence[Launch]]]],
    workload: Workload,
    speed: Speed,
) -> StepTime:
    """Return the time of a step.

    Args:
        batches: launches by phase of each kind of batch, with the number of such batches.
        workload: settings of the step.
        speed: speed of the GPU and its host.
    """
    phases: dict[str, dict[str, Cost]] = {}
    host = speed.host

    def add(phase: str, path: str, cost: Cost) -> None:
        there = phases.setdefault(phase, {})
        there[path] = there[path] + cost if path in there else cost

    for times, launches in batches:
        for phase, some in launches.items():
            by_path: dict[str, list[Launch]] = {}
            for launch in some:
                by_path.setdefault(launch.at, []).append(launch)
            for path, own in by_path.items():
                add(phase, path, _on_gpu(own, times, speed))
                if phase == "backward":
                    arrived = sum(one.kind is Kind.GRADIENT for one in own)
                    add(phase, path, Cost(host=times * arrived * _BACKWARD * host.function))
                    continue
                add(phase, path, Cost(host=times * len(own) * host.function))
                if phase == "forward" and not workload.inference:
                    recorded = sum(one.recorded for one in own)
                    seconds = recorded * _BACKWARD * host.function
                    seconds += len(own) * host.in_python * workload.checkpoint
                    add("backward", path, Cost(host=times * seconds))
    if not workload.inference:
        _, last = batches[-1]
        updated = sum(one.kind is Kind.GRADIENT for one in last["backward"])
        add("optimizer", workload.optimizer, Cost(host=updated * host.in_python))
    return StepTime(phases)


def _on_gpu(launches: Iterable[Launch], times: int, speed: Speed) -> Cost:
    """Return the cost on the GPU of kernels that are launched several times."""
    kernels = [launch for launch in launches if launch.has_kernel]
    by_bound: dict[Bound, float] = {}
    for launch in kernels:
        seconds, bound = kernel(launch, speed)
        by_bound[bound] = by_bound.get(bound, 0.0) + times * seconds
    return Cost(
        device=sum(by_bound.values()),
        by_bound=by_bound,
        launches=times * len(kernels),
        macs=times * sum(launch.macs for launch in kernels),
        read=times * sum(launch.read for launch in kernels),
        written=times * sum(launch.written for launch in kernels),
    )


_LONG_ROWS = 2_048  # keys of the longest softmax that was measured
_NOTABLE = 0.01  # share of the kernels that is worth a sentence


def cautions(
    batches: Iterable[tuple[int, Mapping[str, Iterable[Launch]]]], found: StepTime, speed: Speed
) -> dict[str, str]:
    """Return sentences on kernels whose time is known less well than others', by kind.

    Args:
        batches: launches by phase, as those of `step_time`.
        found: the time of the step.
        speed: speed of the GPU.
    """
    seconds: dict[Kind, float] = {}
    longest = 0
    for times, launches in batches:
        for some in launches.values():
            for one in some:
                own = kernel(one, speed)[0] if one.has_kernel else 0.0
                seconds[one.kind] = seconds.get(one.kind, 0.0) + times * own
                if one.kind is Kind.SOFTMAX and one.tensors:
                    longest = max(longest, one.tensors[0].sizes[-1].value)
    sentences = {
        Kind.DEPTHWISE: (
            "run far below either ceiling, at a share of it that was measured in two steps of "
            "ConvMixer with kernels of 7 x 7 alone, and that nothing else has checked"
        ),
        Kind.ONE_CHANNEL: (
            "run far below either ceiling, at a rate that was measured in lambda layers with "
            "windows of 9 x 9 alone"
        ),
        Kind.CONVOLUTION: (
            "are taken to run as products of matrices do, which was measured for the patches of "
            "images alone"
        ),
        Kind.FFT: "are taken to move their tensors once, which nobody has measured",
        Kind.PLACES: "are taken to move what they pick at the bandwidth, which nobody has measured",
    }
    names = {
        Kind.DEPTHWISE: "depthwise convolutions",
        Kind.ONE_CHANNEL: "convolutions of one channel",
        Kind.CONVOLUTION: "convolutions",
        Kind.FFT: "Fourier transforms",
        Kind.PLACES: "sorting and indexing",
    }
    whole = found.whole.device
    made = {
        names[kind]: f"{seconds[kind] / whole:.0%} of the kernels' time; they {sentence}"
        for kind, sentence in sentences.items()
        if seconds.get(kind, 0.0) >= _NOTABLE * whole
    }
    if longest > _LONG_ROWS:
        made["softmax"] = (
            f"rows of {longest:,} keys, of which the longest that was measured has {_LONG_ROWS:,}"
        )
    return made
