"""Time of a step on paper, by a roofline (Williams et al. 2009).

A kernel takes the larger of its multiply-accumulates over the rate of products and its bytes over
the bandwidth, and a gap. A step takes the larger of the sum of its kernels and the time that the
host needs to launch them, since the host runs ahead of the GPU if it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from vitprof.allocation.launches import Kind, Launch, Product
from vitprof.cuda.speed import Speed

if TYPE_CHECKING:
    from vitprof.request.workload import Workload

TILE = 128  # rows, and columns, of a tile of a product
_SMALLER = (32, 64, TILE)
_SPLITS = (1, 2, 4, 8, 16)
_LEAST_TERMS = 64  # of a sum that is cut
_HEAD = 64  # channels of a head, and keys, that fused attention computes at a time
_CONTRACTIONS = frozenset(
    [Kind.PRODUCT, Kind.ATTENTION, Kind.CONVOLUTION, Kind.DEPTHWISE, Kind.ONE_CHANNEL]
)


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
def efficiency(product: Product, multiprocessors: int, fill: int) -> float:
    """Return the share of the rate of large products that a product reaches by its size.

    Args:
        product: the product.
        multiprocessors: of the GPU, each of which takes a tile at a time.
        fill: terms of a sum that a tile takes the time of beside its own.
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
        best = max(best, tiles / (rounds * multiprocessors) * terms / (terms + fill))
    return used * best


def _tile(size: int) -> int:
    return next((tile for tile in _SMALLER if size <= tile), TILE)


def kernel(launch: Launch, speed: Speed, *, backward: bool) -> tuple[float, Bound]:
    """Return the seconds that a kernel takes on the GPU, and what bounds them.

    Args:
        launch: the kernel.
        speed: speed of the GPU.
        backward: True for a kernel of the backward pass.
    """
    dtype = launch.dtype if launch.dtype in speed.products else "fp32"
    share = speed.list_share if launch.kind is Kind.OPTIMIZER else speed.copy_share[dtype]
    memory = launch.bytes / (speed.copy * share)
    compute = launch.macs and _compute(launch, dtype, speed, backward=backward)
    seconds, bound = max((memory, Bound.MEMORY), (compute, Bound.COMPUTE))
    return seconds + speed.gap, bound if seconds >= speed.gap else Bound.LAUNCHES


def _compute(launch: Launch, dtype: str, speed: Speed, *, backward: bool) -> float:
    """Return the seconds of the contractions of a kernel."""
    if launch.kind is Kind.DEPTHWISE:
        return launch.macs / speed.depthwise[dtype]
    if launch.kind is Kind.ONE_CHANNEL:
        return launch.macs / speed.one_channel[dtype][len(launch.products) > 1]
    if launch.kind is Kind.ATTENTION:
        macs = sum(map(_in_heads, launch.products))
        return macs / (speed.products[dtype] * speed.attention[dtype][backward])
    rate = (speed.convolutions if launch.kind is Kind.CONVOLUTION else speed.products)[dtype]
    half = "fp16" if launch.kind is Kind.CONVOLUTION and dtype == "fp32" else dtype
    reached = rate * speed.product_share[half]
    return sum(
        one.macs / (reached * efficiency(one, speed.multiprocessors, speed.fill[half]))
        for one in launch.products
    )


def _in_heads(product: Product) -> int:
    """Return the multiply-accumulates of fused attention, whose kernels pad channels and keys."""
    inner, columns = (-(-size // _HEAD) * _HEAD for size in (product.inner, product.columns))
    return product.batch * product.rows * inner * columns


def _on_host(launch: Launch, speed: Speed, *, gradients: bool) -> float:
    """Return the seconds that the host needs for a kernel, with or without autograd."""
    contracts = launch.kind in _CONTRACTIONS
    if gradients:
        return speed.host.product if contracts else speed.host.other
    return speed.host.inference_product if contracts else speed.host.inference_other


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


START = "start"  # path of what the host does before and after a step's kernels


def step_time(
    batches: Iterable[tuple[int, Mapping[str, Iterable[Launch]]]],
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
            gradients = not workload.inference and phase != "optimizer"
            by_path: dict[str, list[Launch]] = {}
            for launch in some:
                by_path.setdefault(launch.at, []).append(launch)
            for path, own in by_path.items():
                cost = _cost(own, times, speed, backward=phase == "backward", gradients=gradients)
                add(phase, path, cost)
                if workload.checkpoint and phase == "forward":
                    add("backward", path, Cost(host=times * len(own) * host.checkpoint))
    last = [*phases][-1]
    add(last, START, Cost(host=host.inference if workload.inference else host.training))
    return StepTime(phases)


def _cost(
    launches: list[Launch], times: int, speed: Speed, *, backward: bool, gradients: bool
) -> Cost:
    """Return the cost of kernels that are launched several times."""
    by_bound: dict[Bound, float] = {}
    host = 0.0
    for launch in launches:
        seconds, bound = kernel(launch, speed, backward=backward)
        by_bound[bound] = by_bound.get(bound, 0.0) + times * seconds
        host += times * _on_host(launch, speed, gradients=gradients)
    return Cost(
        device=sum(by_bound.values()),
        host=host,
        by_bound=by_bound,
        launches=times * len(launches),
        macs=times * sum(launch.macs for launch in launches),
        read=times * sum(launch.read for launch in launches),
        written=times * sum(launch.written for launch in launches),
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
        for phase, some in launches.items():
            for one in some:
                own, _ = kernel(one, speed, backward=phase == "backward")
                seconds[one.kind] = seconds.get(one.kind, 0.0) + times * own
                if one.kind is Kind.SOFTMAX and one.tensors:
                    longest = max(longest, one.tensors[0].sizes[-1].value)
    sentences = {
        Kind.DEPTHWISE: (
            "run far below either ceiling, at a rate that was measured in ConvMixer with kernels "
            "of 7 x 7 alone"
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
