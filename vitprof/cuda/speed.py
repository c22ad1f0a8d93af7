"""Speed of kernels on a GPU, and of the host that launches them.

What an H100 reaches was measured: the figures stand in `MEASURED`, with their device. Of another
GPU the table gives the peaks, and the shares of them are those of the H100.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from vitprof.cuda.gpus import Gpu, find_gpu
from vitprof.errors import SpecError, listing

HALF = ("fp16", "bf16")
_TERA, _GIGA, _MICRO = 1e12, 1e9, 1e-6
_FLOPS = 2  # of a multiply-accumulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Time that Python and PyTorch take on the host for a step, in seconds.

    Attributes:
        function: a function of ATen in the forward pass or the optimizer; in the backward pass
            twice as much.
        in_python: a parameter that the optimizer updates, and what a function of the forward pass
            takes more if it is recomputed: both go through Python one by one.
    """

    function: float
    in_python: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Speed of a GPU and its host.

    Attributes:
        gpu: name of the GPU.
        multiprocessors: its multiprocessors.
        products: multiply-accumulates per second of large products of matrices, by dtype.
        convolutions: those of large convolutions, by dtype; of fp32 in TF32 if there is such a
            unit, as PyTorch does by default.
        copy: bytes per second that a large copy reads and writes.
        gap: seconds that a kernel takes beside its work.
        share: share of these ceilings that kernels of 16 bits reach, and of any dtype fused
            attention, convolutions and functions of lists of tensors; others of fp32 reach all.
        depthwise: share of `products` that depthwise convolutions reach.
        one_channel: share of those of fp32 that convolutions of one input channel reach, in any
            dtype, if their windows overlap.
        windows: share of `copy` at which the gradients of such convolutions read their windows.
        host: time of the host.
        by: what the figures are based on.
        measured: True if they were measured on this GPU.
    """

    gpu: str
    multiprocessors: int
    products: Mapping[str, float]
    convolutions: Mapping[str, float]
    copy: float
    gap: float
    share: float
    depthwise: float
    one_channel: float
    windows: float
    host: Host
    by: str
    measured: bool = False

    @property
    def sentences(self) -> dict[str, str]:
        """The figures as lines for people, by what they are of."""
        products = ", ".join(f"{name} {rate / _TERA:.4g}" for name, rate in self.products.items())
        host = {name: f"{seconds / _MICRO:.0f}" for name, seconds in asdict(self.host).items()}
        return {
            "ceilings": (
                f"products {products} TMAC/s; bandwidth {self.copy / _TERA:.3g} TB/s; "
                f"{self.gap / _MICRO:g} µs of each kernel beside its work"
            ),
            "fitted": (
                f"{self.share:g} of the ceilings in 16 bits, by fused attention and by functions "
                f"of lists; depthwise convolutions {self.depthwise:g}, those of one channel "
                f"{self.one_channel:g}, their gradients {self.windows:g}; the host "
                f"{host['function']} µs a function forward and twice that backward, "
                f"{host['in_python']} a tensor of the optimizer or a function that is recomputed"
            ),
            "based on": self.by,
        }


# One NVIDIA H100 80GB HBM3, driver 580, CUDA 13.0, PyTorch 2.11. `products` and `copy` are those of
# 8,192 x 8,192 matrices and of 4 GiB, `gap` is the time between launches of a trivial kernel; fp32
# convolutions have the share of their peak that products in 16 bits have. The four shares and the
# two times of the host are those with which the steps of docs/time.md are predicted best, all of
# them together, and rounded.
MEASURED = Speed(
    gpu="H100 SXM5 80GB",
    multiprocessors=132,
    products={"fp32": 25.7 * _TERA, "fp16": 379.6 * _TERA, "bf16": 393.2 * _TERA},
    convolutions={"fp32": 196.6 * _TERA, "fp16": 379.6 * _TERA, "bf16": 393.2 * _TERA},
    copy=3_020 * _GIGA,
    gap=6.7 * _MICRO,
    share=0.7,
    depthwise=0.01,
    one_channel=0.1,
    windows=0.5,
    host=Host(function=10 * _MICRO, in_python=50 * _MICRO),
    by="measured: H100 80GB HBM3, driver 580, CUDA 13.0, torch 2.11",
    measured=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Errors of the prediction that were found on the steps that were measured.

    Attributes:
        steps: number of steps.
        median: median of the relative errors, without their signs.
        nine_in_ten: error that nine in ten of the steps are within.
        worst: largest error.
        pairs: pairs of mixers whose times differ by over 10 %.
        in_order: those of them that are predicted in order.
        pairs_long: those of the pairs of which both steps take more than 5 ms.
        in_order_long: those of these that are predicted in order.
    """

    steps: int
    median: float
    nine_in_ten: float
    worst: float
    pairs: int
    in_order: int
    pairs_long: int
    in_order_long: int

    @property
    def sentence(self) -> str:
        """The errors and the order, in words."""
        return (
            f"of {self.steps} steps that were measured on an H100 the predictions are off by "
            f"{self.median:.0%} in the median, nine in ten by at most {self.nine_in_ten:.0%}, the "
            f"worst by {self.worst:.0%}; of {self.pairs} pairs of mixers whose times differ by "
            f"over 10% {self.in_order} ({self.in_order / self.pairs:.0%}) are in order, and "
            f"{self.in_order_long} of the {self.pairs_long} of steps above 5 ms"
        )


# Of MEASURED, on the rows of tests/data/h100 that docs/time.md names.
FOUND = Found(
    steps=244,
    median=0.05,
    nine_in_ten=0.197,
    worst=0.681,
    pairs=368,
    in_order=339,
    pairs_long=249,
    in_order_long=240,
)


def calibrated(gpu: Gpu, dtype: str, products: float, copy: float) -> Speed:
    """Return the speed of a GPU that was measured in this run, with the shares of the H100.

    Args:
        gpu: GPU of the table.
        dtype: dtype of contractions.
        products: multiply-accumulates per second of the fastest product in this dtype.
        copy: bytes per second that the fastest copy reads and writes.
    """
    speed = speed_of(gpu, "fp32")
    return replace(
        speed,
        products={**speed.products, dtype: products},
        copy=copy,
        by="product and copy measured in this run; shares and host of an H100",
    )


def speed_of(gpu: Gpu, dtype: str) -> Speed:
    """Return the speed of a GPU: as measured, or by its peaks with the shares of the H100.

    Args:
        gpu: GPU of the table.
        dtype: dtype of contractions.

    Raises:
        SpecError: the GPU has no units for this dtype.
    """
    if gpu.name == MEASURED.gpu:
        return MEASURED
    if dtype not in gpu.peaks:
        others = [name for name in ("fp32", *HALF) if name in gpu.peaks]
        raise SpecError(
            f"the table has no peak of {gpu.name} in {dtype}, from which its time would follow; "
            f"give --dtype {listing(others)}"
        )
    known = find_gpu("h100")
    products = {}
    for name in MEASURED.products:
        if name in gpu.measured_peaks:
            products[name] = gpu.measured_peaks[name] * _TERA / _FLOPS
        elif name in gpu.peaks:
            products[name] = MEASURED.products[name] * gpu.peaks[name] / known.peaks[name]
    convolutions = dict(products)
    if "tf32" in gpu.peaks:
        scale = gpu.peaks["tf32"] / known.peaks["tf32"]
        convolutions["fp32"] = MEASURED.convolutions["fp32"] * scale
    return replace(
        MEASURED,
        gpu=gpu.name,
        multiprocessors=gpu.multiprocessors,
        products=products,
        convolutions=convolutions,
        copy=MEASURED.copy * gpu.bandwidth / known.bandwidth,
        by="not measured: peaks of the table, with the shares and the host of an H100",
        measured=False,
    )
