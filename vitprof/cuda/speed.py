"""Speed of kernels on a GPU, and of the host that launches them.

What an H100 reaches was measured: the figures stand in `MEASURED`, with their device. Of another
GPU the table gives the peaks, and the shares of them are those of the H100.

A product of matrices does more than its multiply-accumulates. Its result is cut into tiles of
128 x 128, which the multiprocessors take one each, in rounds: those that have no tile in the last
round wait. And each tile takes as long as `fill` more terms of its sums, to fill its pipeline and
to write its result. Long sums are cut in two, four, ... up to sixteen where that is faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vitprof.cuda.gpus import Gpu, find_gpu
from vitprof.errors import SpecError, listing

HALF = ("fp16", "bf16")
_TERA, _GIGA, _MICRO = 1e12, 1e9, 1e-6
_FLOPS = 2  # of a multiply-accumulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Time that Python and PyTorch take on the host for a step, in seconds.

    Attributes:
        inference: start of a step of inference.
        inference_product: a contraction in inference.
        inference_other: any other kernel in inference, and each of the optimizer.
        training: start of a training step.
        product: a contraction in training.
        other: any other kernel in training.
        checkpoint: what a kernel of the forward pass takes more if it is recomputed.
    """

    inference: float
    inference_product: float
    inference_other: float
    training: float
    product: float
    other: float
    checkpoint: float


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
        product_share: share of `products` that products within a step reach, by dtype.
        fill: terms of a sum that a tile takes the time of beside its own, by dtype.
        copy_share: share of `copy` that other kernels reach, by dtype.
        list_share: share of `copy` that functions of lists of tensors reach, as of an optimizer.
        attention: share of `products` that fused attention reaches, by dtype, forward and backward.
        one_channel: multiply-accumulates per second of convolutions with windows that overlap and
            one input channel, by dtype, forward and backward.
        depthwise: those of depthwise convolutions, by dtype.
        gap: seconds that a kernel takes beside its work.
        host: time of the host.
        by: what the figures are based on.
        measured: True if they were measured on this GPU.
    """

    gpu: str
    multiprocessors: int
    products: Mapping[str, float]
    convolutions: Mapping[str, float]
    copy: float
    product_share: Mapping[str, float]
    fill: Mapping[str, int]
    copy_share: Mapping[str, float]
    list_share: float
    attention: Mapping[str, tuple[float, float]]
    one_channel: Mapping[str, tuple[float, float]]
    depthwise: Mapping[str, float]
    gap: float
    host: Host
    by: str
    measured: bool = False

    @property
    def sentences(self) -> dict[str, str]:
        """The figures as lines for people, by what they are of."""
        products = ", ".join(f"{name} {rate / _TERA:.4g}" for name, rate in self.products.items())
        shares = ", ".join(f"{name} {share:g}" for name, share in self.product_share.items())
        copies = ", ".join(f"{name} {share:g}" for name, share in self.copy_share.items())
        heads = ", ".join(
            f"{name} {forward:g} and {backward:g}"
            for name, (forward, backward) in self.attention.items()
        )
        host = self.host
        micro = {
            name: f"{seconds / _MICRO:.0f}"
            for name, seconds in (
                *(("training", host.training), ("product", host.product), ("other", host.other)),
                *(("checkpoint", host.checkpoint), ("inference", host.inference)),
                *(("i", host.inference_product), ("o", host.inference_other)),
            )
        }
        return {
            "products": f"{products} TMAC/s, of which a step reaches {shares}",
            "bandwidth": (
                f"{self.copy / _TERA:.3g} TB/s, of which a step reaches {copies}, and functions of "
                f"lists {self.list_share:g}"
            ),
            "attention": f"{heads} of the products, forward and backward",
            "gap": f"{self.gap / _MICRO:g} µs of each kernel beside its work",
            "host": (
                f"{micro['training']} µs a training step, {micro['product']} a contraction, "
                f"{micro['other']} another kernel, {micro['checkpoint']} more one that is "
                f"recomputed; {micro['inference']}, {micro['i']} and {micro['o']} in inference"
            ),
            "based on": self.by,
        }


def _half(fp32: float, half: float) -> dict[str, float]:
    return {"fp32": fp32, **dict.fromkeys(HALF, half)}


# One NVIDIA H100 80GB HBM3, driver 580, CUDA 13.0, PyTorch 2.11. `products` and `copy` are those of
# 8,192 x 8,192 matrices and of 4 GiB; fp32 convolutions have the share of their peak that products
# in 16 bits have. Shares, and times of the host, are those with which the steps of docs/time.md are
# predicted best, all of them together.
MEASURED = Speed(
    gpu="H100 SXM5 80GB",
    multiprocessors=132,
    products={"fp32": 25.7 * _TERA, "fp16": 379.6 * _TERA, "bf16": 393.2 * _TERA},
    convolutions={"fp32": 196.6 * _TERA, "fp16": 379.6 * _TERA, "bf16": 393.2 * _TERA},
    copy=3_020 * _GIGA,
    product_share=_half(1.0, 0.85),
    fill={"fp32": 64, "fp16": 128, "bf16": 128},
    copy_share=_half(1.0, 0.7),
    list_share=0.58,
    attention={"fp32": (0.7, 0.7), "fp16": (0.8, 0.54), "bf16": (0.8, 0.54)},
    one_channel={
        "fp32": (4.7 * _TERA, 0.37 * _TERA),
        **dict.fromkeys(HALF, (2.85 * _TERA, 0.77 * _TERA)),
    },
    depthwise=_half(0.27 * _TERA, 3.4 * _TERA),
    gap=5 * _MICRO,
    host=Host(
        inference=130 * _MICRO,
        inference_product=35 * _MICRO,
        inference_other=9 * _MICRO,
        training=400 * _MICRO,
        product=85 * _MICRO,
        other=16 * _MICRO,
        checkpoint=110 * _MICRO,
    ),
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
        pairs_on_gpu: those of the pairs of which neither step waits for the host.
        in_order_on_gpu: those of these that are predicted in order.
    """

    steps: int
    median: float
    nine_in_ten: float
    worst: float
    pairs: int
    in_order: int
    pairs_on_gpu: int
    in_order_on_gpu: int

    @property
    def sentence(self) -> str:
        """The errors and the order, in words."""
        return (
            f"of {self.steps} steps that were measured on an H100 the predictions are off by "
            f"{self.median:.0%} in the median, nine in ten by at most {self.nine_in_ten:.0%}, the "
            f"worst by {self.worst:.0%}; of {self.pairs} pairs of mixers whose times differ by "
            f"over 10% {self.in_order} ({self.in_order / self.pairs:.0%}) are in order, and "
            f"{self.in_order_on_gpu} of the {self.pairs_on_gpu} of which neither step waits for "
            "the host"
        )


# Of MEASURED, on the rows of tests/data/h100 that docs/time.md names.
FOUND = Found(
    steps=244,
    median=0.052,
    nine_in_ten=0.229,
    worst=0.739,
    pairs=368,
    in_order=325,
    pairs_on_gpu=152,
    in_order_on_gpu=148,
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
    units = gpu.peaks["fp32"] / known.peaks["fp32"]
    return replace(
        MEASURED,
        gpu=gpu.name,
        multiprocessors=gpu.multiprocessors,
        products=products,
        convolutions=convolutions,
        copy=MEASURED.copy * gpu.bandwidth / known.bandwidth,
        one_channel={
            name: (one * units, other * units)
            for name, (one, other) in MEASURED.one_channel.items()
        },
        depthwise={name: rate * units for name, rate in MEASURED.depthwise.items()},
        by="not measured: peaks of the table, with the shares and the host of an H100",
        measured=False,
    )
