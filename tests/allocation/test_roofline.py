"""Time of a step on paper: its arithmetic by hand, and the steps that were measured on an H100."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cases import for_each
from h100 import H100, built, pairs, summary, timed

from vitprof.allocation.launches import Kind, Launch, Product
from vitprof.allocation.roofline import START, Bound, efficiency, kernel, step_time
from vitprof.cuda.gpus import Gpu, find_gpu, gpus
from vitprof.cuda.speed import FOUND, MEASURED, speed_of
from vitprof.errors import SpecError
from vitprof.request.workload import Workload
from vitprof.sweeps.time import on_gpu

# A GPU with round numbers: 10 multiprocessors, 1 TMAC/s, 1 TB/s, 1 ms between kernels.
ROUND = replace(
    MEASURED,
    multiprocessors=10,
    products={"fp32": 1e12, "bf16": 1e12},
    product_share={"fp32": 1.0, "bf16": 0.5},
    fill={"fp32": 0, "bf16": 128},
    copy=1e12,
    copy_share={"fp32": 1.0, "bf16": 0.5},
    list_share=0.25,
    attention={"fp32": (0.5, 0.25)},
    depthwise={"fp32": 1e9},
    one_channel={"fp32": (2e9, 1e9)},
    gap=1e-3,
)
WHOLE = Product(1, 1280, 1000, 1280)  # 100 tiles in 10 rounds


def launch(kind: Kind, moved: int, *products: Product, dtype: str = "fp32") -> Launch:
    return Launch("at", kind, moved, 0, products, dtype)


@pytest.mark.parametrize(
    ("product", "fill", "share"),
    [
        (WHOLE, 0, 1),
        (WHOLE, 1000, 1 / 2),  # 1,000 of 2,000 terms
        (Product(1, 1281, 1000, 1280), 0, 1281 / 1408),  # 110 tiles in 11 rounds, not all full
        (Product(1, 128, 10, 128), 0, 1 / 10),  # 1 of 10 multiprocessors; too few terms to cut
        (Product(1, 128, 1280, 128), 0, 8 / 10),  # the sum is cut into 8
        (Product(3, 128, 10, 640), 0, 15 / 20),  # 15 tiles in 2 rounds
        (Product(10, 64, 10, 32), 0, 1),  # smaller tiles
        (Product(10, 48, 10, 32), 0, 48 / 64),
    ],
)
def test_share_of_a_product(product: Product, fill: int, share: float) -> None:
    assert efficiency(product, 10, fill) == pytest.approx(share)


@pytest.mark.parametrize(
    ("one", "seconds", "bound"),
    [
        (launch(Kind.COPY, 10**12), 1, Bound.MEMORY),
        (launch(Kind.COPY, 10**12, dtype="bf16"), 2, Bound.MEMORY),
        (launch(Kind.OPTIMIZER, 10**12), 4, Bound.MEMORY),
        (launch(Kind.PRODUCT, 10**6, Product(1, 12800, 10000, 12800)), 1.6384, Bound.COMPUTE),
        (launch(Kind.PRODUCT, 2 * 10**12, WHOLE), 2, Bound.MEMORY),
        (launch(Kind.PRODUCT, 1, replace(WHOLE, inner=128), dtype="bf16"), 8.39e-4, None),
        (launch(Kind.ATTENTION, 1, Product(10, 1000, 64, 1024)), 1.31e-3, Bound.COMPUTE),
        # Heads of 32 channels take the time of 64.
        (launch(Kind.ATTENTION, 1, Product(10, 1000, 32, 1024)), 1.31e-3, Bound.COMPUTE),
        (launch(Kind.DEPTHWISE, 1, Product(10, 1000, 1000, 100)), 1, Bound.COMPUTE),
        (launch(Kind.ONE_CHANNEL, 1, Product(1, 1000, 1000, 1000)), 0.5, Bound.COMPUTE),
        (launch(Kind.ONE_CHANNEL, 1, *[Product(1, 1000, 1000, 1000)] * 2), 2, Bound.COMPUTE),
        (launch(Kind.COPY, 1), 0, Bound.LAUNCHES),
    ],
)
def test_time_of_a_kernel(one: Launch, seconds: float, bound: Bound | None) -> None:
    found, by = kernel(one, ROUND, backward=False)
    assert found == pytest.approx(seconds + 1e-3, rel=1e-3)
    assert by is (bound or Bound.LAUNCHES)


def test_a_step_takes_the_larger_of_its_kernels_and_the_host() -> None:
    host = replace(MEASURED.host, training=0.1, product=2e-3, other=5e-4, inference_other=3e-4)
    some = {
        "forward": [launch(Kind.PRODUCT, 1, WHOLE), launch(Kind.COPY, 10**12)],
        "backward": [launch(Kind.COPY, 10**12)],
        "optimizer": [launch(Kind.OPTIMIZER, 10**12)] * 2,
    }
    found = step_time([(3, some)], Workload(batch=1), replace(ROUND, host=host))
    assert found.whole.device == pytest.approx(3 * (WHOLE.macs / 1e12 + 10 + 5e-3))
    assert found.whole.host == pytest.approx(0.1 + 3 * (2e-3 + 2 * 5e-4 + 2 * 3e-4))
    assert found.phases["optimizer"][START].host == 0.1
    assert found.seconds == found.whole.device
    assert not found.waits_for_host
    slow = step_time(
        [(3, some)], Workload(batch=1), replace(ROUND, host=replace(host, training=99))
    )
    assert slow.waits_for_host
    assert slow.seconds == slow.whole.host
    again = step_time(
        [(1, some)], Workload(batch=1, checkpoint=True), replace(ROUND, host=host)
    ).whole
    assert again.host - found.whole.host == pytest.approx(
        2 * host.checkpoint - 2 * (2e-3 + 2 * 5e-4 + 2 * 3e-4)
    )


# Measurements


def test_errors_that_every_prediction_tells_of() -> None:
    assert summary(timed()) == FOUND


def test_goals() -> None:
    """Check errors on all rows; the order is short of 95 in 100, since the host's times scatter."""
    errors = sorted(abs(step.error) for step in timed())
    assert summary(timed()).median <= 0.15
    assert sum(error <= 0.3 for error in errors) >= 0.9 * len(errors)
    assert FOUND.in_order_on_gpu >= 0.95 * FOUND.pairs_on_gpu
    assert FOUND.in_order < 0.95 * FOUND.pairs  # docs/time.md says so
    wrong = [
        pair for pair in pairs(timed()) if pair[0].predicted.seconds >= pair[1].predicted.seconds
    ]
    host = [pair for pair in wrong if any(step.predicted.waits_for_host for step in pair)]
    assert (len(wrong), len(host)) == (43, 39)


@pytest.mark.parametrize(("inference", "low", "high"), [(True, 3000, 5000), (False, 1800, 2800)])
def test_fused_and_linear_attention_cross_where_they_did(
    inference: bool, low: int, high: int
) -> None:
    """Check the sign of the difference on both sides: 4,100 and 2,300 tokens were measured."""

    def slower(tokens: int) -> bool:
        spec = f"--model layer --tokens {tokens} --dim 768 --heads 12 --activation gelu --mixer"
        seconds = []
        for mixer in ("attn --fused", "linear"):
            model, workload = built(f"{spec} {mixer}", "--batch 16 --dtype bf16")
            own = workload.as_inference() if inference else workload
            seconds.append(on_gpu(model, own, H100).seconds)
        return seconds[0] > seconds[1]

    assert not slower(low)
    assert slower(high)


# Other GPUs


def test_speed_of_the_gpu_that_was_measured() -> None:
    assert speed_of(find_gpu("h100"), "bf16") is MEASURED
    assert MEASURED.multiprocessors == find_gpu("h100").multiprocessors


@for_each("gpu", gpus(), ids=lambda gpu: gpu.names[0])
def test_speed_of_another_gpu_is_marked_and_below_its_peaks(gpu: Gpu) -> None:
    speed = speed_of(gpu, "fp32")
    assert speed.measured is (gpu.name == MEASURED.gpu)
    assert speed.measured or "not measured" in speed.by
    assert speed.copy < 1e9 * gpu.bandwidth
    for dtype, rate in speed.products.items():
        if dtype in gpu.peaks and dtype not in gpu.measured_peaks:
            assert 0.7 < 2 * rate / (1e12 * gpu.peaks[dtype]) < 0.81


def test_a_dtype_that_a_gpu_has_no_units_for() -> None:
    with pytest.raises(SpecError, match=r"no peak of Tesla V100.* in bf16.*--dtype fp32 or"):
        speed_of(find_gpu("v100-16"), "bf16")
