"""Example on the report's memory: its output, and its figures derived by hand."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vitprof.allocation.allocator import DoesNotFitError
from vitprof.allocation.on_gpu import on_gpu
from vitprof.allocation.rules import RULES
from vitprof.allocation.step import Memory, memory, peak_bytes
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.request.specs import specify
from vitprof.request.workload import Workload

EXAMPLE = Path(__file__).parents[2] / "examples" / "report_memory.py"
GIB = 2**30
FP32 = 4  # bytes
ROW = re.compile(r"^(\w+), (\d+) × (\d+) +([\d.]+) +([\d.]+) +\S+ +(\d+) +yes +([\d.]+) ", re.M)

# Patch 8 on 256 × 256: 32 × 32 patches, a quarter of them kept, and the class token.
PATCHES, KEPT = 32 * 32, 256
ENCODED, DECODED = KEPT + 1, PATCHES + 1
BATCH, HEADS, WIDTH, HIDDEN = 10, 8, 128, 512


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "utf8", *map(str, arguments)]
    env = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=env, check=False)


@pytest.fixture(scope="module")
def printed() -> str:
    done = run("-X", "importtime", EXAMPLE)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert all(line.startswith("import time:") for line in done.stderr.splitlines())
    assert "vitprof.allocation.step" in imported
    assert "torch" not in imported
    assert done.returncode == 0
    assert "NO" not in done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def step(example: dict[str, Any], mixer: str, *, old: bool) -> Memory:
    """Return the training step at patch size 8 and batch 10."""
    model = example["autoencoder"](mixer, 8)
    return memory(model, Workload(batch=BATCH), rules=example["OLD"] if old else RULES)


def activation(tokens: int) -> int:
    """Return bytes of one element per channel of each token."""
    return FP32 * BATCH * tokens * WIDTH


def weights(tokens: int) -> int:
    """Return bytes of one element per pair of tokens and head."""
    return FP32 * BATCH * HEADS * tokens**2


def statistics(tokens: int) -> int:
    """Return bytes of a LayerNorm's mean and deviation of each token."""
    return 2 * FP32 * BATCH * tokens


def common(tokens: int) -> int:
    """Return bytes that a block saves with any mixer.

    These are the inputs of the norms and of the layers after them, and the hidden layer before
    and after its GELU.
    """
    norms = 2 * (activation(tokens) + statistics(tokens))
    return norms + 2 * activation(tokens) + 2 * FP32 * BATCH * tokens * HIDDEN


def attention_block(tokens: int) -> int:
    """Return bytes of q, k, v, the input of fc_out, and the softmax's input and output."""
    return common(tokens) + 4 * activation(tokens) + 2 * weights(tokens)


def lambda_block(tokens: int) -> int:
    """Return bytes that a block saves with lambda for k = v = 16.

    Beside those of any mixer these are qkv, which the norms and the softmax read in parts; their
    three outputs; a k × v lambda per token, and one per image.
    """
    qkv, normed, softmax = 8 * 16 + 16 + 16, 8 * 16 + 16, 16
    channels = qkv + normed + softmax + 16 * 16
    content, deviations = BATCH * 16 * 16, 2 * (8 * 16 + 16)
    return common(tokens) + FP32 * (BATCH * tokens * channels + content + deviations)


@pytest.mark.parametrize(("mixer", "block"), [("attn", attention_block), ("lambda", lambda_block)])
def test_a_block_keeps_what_the_derivation_says(
    mixer: str, block: Callable[[int], int], example: dict[str, Any]
) -> None:
    kept = step(example, mixer, old=True).kept
    for stage, tokens in (("blocks", ENCODED), ("decoder_blocks", DECODED)):
        own = [size.value for path, size in kept.items() if path.startswith(f"{stage}.0.")]
        assert sum(own) == block(tokens)


def test_the_peak_of_attention_is_the_derivation(example: dict[str, Any]) -> None:
    # The backward pass is at the softmax of the last block.
    layer = 2 * 2 * WIDTH + WIDTH * 3 * WIDTH + 3 * WIDTH + WIDTH * WIDTH + WIDTH
    layer += WIDTH * HIDDEN + HIDDEN + HIDDEN * WIDTH + WIDTH
    patch_embed, embed = 8 * 8 * WIDTH + WIDTH, WIDTH * WIDTH + WIDTH
    pred, norm, tokens = WIDTH * 8 * 8 + 8 * 8, 2 * WIDTH, 2 * WIDTH
    trained = patch_embed + 20 * layer + norm + embed + norm + pred + tokens
    tables = 2 * (PATCHES + 1) * WIDTH
    moments = 2 * trained
    behind = pred + norm + WIDTH * HIDDEN + HIDDEN + HIDDEN * WIDTH + WIDTH + norm + embed
    image_and_labels = FP32 * BATCH * 256 * 256 + 8 * BATCH
    gathers = 2 * activation(PATCHES) + 2 * 8 * BATCH * PATCHES
    between = 2 * activation(ENCODED) + statistics(ENCODED)  # norm and decoder_embed
    norm1_and_qkv = 2 * activation(DECODED) + statistics(DECODED)
    last = norm1_and_qkv + 2 * activation(DECODED) + 2 * weights(DECODED)  # q and k; v is used
    blocks = 12 * attention_block(ENCODED) + 7 * attention_block(DECODED) + last
    # The gradients of the residual, of v, of the softmax's output and of its input.
    gradients = 2 * activation(DECODED) + 2 * weights(DECODED)
    loss_and_its_gradient = 2 * FP32
    found = step(example, "attn", old=True).peak
    assert found.at == "decoder_blocks.7.mixer.weights"
    assert found.bytes == (
        FP32 * (trained + tables + moments + behind)
        + image_and_labels
        + gathers
        + between
        + blocks
        + gradients
        + loss_and_its_gradient
    )


def test_the_old_softmax_keeps_one_tensor_more_a_block(example: dict[str, Any]) -> None:
    more = 12 * weights(ENCODED) + 8 * weights(DECODED)
    old, today = (step(example, "attn", old=old) for old in (True, False))
    assert old.kept_bytes - today.kept_bytes == more
    assert old.peak.bytes - today.peak.bytes == more
    # The keys that lambda's softmax takes are a part of qkv, which is saved in both cases.
    assert step(example, "lambda", old=True).peak == step(example, "lambda", old=False).peak


def test_the_old_softmax_at_odd_sizes(example: dict[str, Any]) -> None:
    layer = specify("layer", options={"tokens": 37, "dim": 24, "heads": 3})
    old, today = (
        memory(layer, Workload(batch=5), rules=rules) for rules in (example["OLD"], RULES)
    )
    assert old.kept_bytes - today.kept_bytes == FP32 * 5 * 3 * 37**2


def test_the_constant_is_the_start_of_the_line_less_the_states(example: dict[str, Any]) -> None:
    # 3.8 and 8.0 GB at 4,096 patches for 1 and 10 images; 4.5 at 1,024 for 10 is on that line.
    slope = (8.0 - 3.8) / 9
    start = 3.8 - slope
    assert f"{start + slope * 10 / 4:.6f}" == "4.500000"
    states = memory(example["autoencoder"]("lambda", 4), Workload(), rules=RULES).peak.by_kind
    held = sum(states[kind] for kind in ("parameters", "buffers", "optimizer"))
    assert f"{start - held / GIB:.2f}" == "3.29"
    assert example["CONSTANT"] == int(3.29 * GIB)


def test_every_run_is_as_near_as_is_stated(printed: str, example: dict[str, Any]) -> None:
    reported = {
        ("attn", 8, 10): "10.5",
        ("attn", 4, 1): "13.6",
        ("lambda", 4, 1): "3.8",
        ("lambda", 8, 10): "4.5",
        ("lambda", 4, 10): "8.0",
    }
    rows = ROW.findall(printed)
    assert {(mixer, int(p), int(b)): figure for mixer, p, b, figure, *_ in rows} == reported
    for mixer, patch, batch, figure, gib, within, gb in rows:
        model = example["autoencoder"](mixer, int(patch))
        total = peak_bytes(model, Workload(batch=int(batch)), rules=example["OLD"]) + 3.29 * GIB
        assert (gib, gb) == (f"{total / GIB:.2f}", f"{total / 10**9:.2f}")
        assert abs(total / GIB / float(figure) - 1) <= int(within) / 100
        assert abs(total / 10**9 / float(figure) - 1) <= 0.07  # as the text below the table says
        # Four of the five are within 6 %, and the fifth is 12 % low.
        assert (int(within) <= 6) is ((mixer, patch, batch) != ("lambda", "4", "10"))
    assert re.search(r"^lambda, 4 × 10 .* -12\.1 ", printed, re.M)


def test_differences_leave_the_constant_out(printed: str) -> None:
    # Reported: 13.6 - 10.5, 4.5 - 3.8, 8.0 - 4.5; predicted, and with today's softmax.
    for row in (
        r"attn, 4 × 1 − 8 × 10 +3\.1 +3\.18 +\+2\.4 +3 +yes +3\.41 +\+10\.0 +1\.54",
        r"lambda, 8 × 10 − 4 × 1 +0\.7 +0\.56 +-20\.6 +21 +yes +0\.60 +-14\.7 +0\.56",
        r"lambda, 4 × 10 − 8 × 10 +3\.5 +2\.78 +-20\.7 +21 +yes +2\.98 +-14\.8 +2\.78",
    ):
        assert re.search(f"^{row}$", printed, re.M)


def test_the_closest_largest_batches(printed: str, example: dict[str, Any]) -> None:
    assert "patch 8, decoder 512 wide with 16 heads, a GPU of 20 GiB" in printed
    # Three sizes of patches, two decoders, GPUs of 10, 11, 12, 16, 20 and 24 GiB.
    assert "best of 36 scanned and not a fit" in printed
    assert "36 of 36 lambda fits a larger batch than linear" in printed
    for mixer, reported, batch in (("attn", 23, 11), ("lambda", 49, 63), ("linear", 87, 43)):
        assert re.search(rf"^{mixer} +{reported} +{batch} ", printed, re.M)
        assert abs(batch / reported - 1) <= 0.53
        model, rules = example["autoencoder"](mixer, 8, (512, 16)), example["OLD"]
        peaks = [peak_bytes(model, Workload(batch=n), rules=rules) for n in (batch, batch + 1)]
        assert peaks[0] <= 20 * GIB - example["CONSTANT"] < peaks[1]


@pytest.mark.parametrize(
    # Reported; by trial on an H100 that could reserve 24 GiB; predicted for it; error in percent.
    ("mixer", "reported", "tried", "predicted", "off"),
    [
        ("attn", 23, 23, 23, r"\+0\.0"),
        ("lambda", 49, 87, 89, r"\+2\.3"),
        ("linear", 87, 60, 60, r"\+0\.0"),
    ],
)
def test_the_largest_batches_that_were_tried(
    mixer: str, reported: int, tried: int, predicted: int, off: str, printed: str
) -> None:
    assert re.search(rf"^{mixer} +{reported} +{tried} +{predicted} +{off}$", printed, re.M)
    model = specify("mae", mixer=mixer)
    platform = Platform(gpu=find_gpu("h100"), torch=(2, 11))
    limit = 24 * GIB
    assert on_gpu(model, Workload(batch=predicted), platform, capacity=limit).reserved <= limit
    with pytest.raises(DoesNotFitError):
        on_gpu(model, Workload(batch=predicted + 1), platform, capacity=limit)


def test_the_model_that_was_tried_is_that_of_the_command(example: dict[str, Any]) -> None:
    assert example["autoencoder"]("lambda", 8, (512, 16)) == specify("mae", mixer="lambda")


def test_assumptions_are_printed(printed: str) -> None:
    said = " ".join(printed.split())
    for words in (
        "256 × 256",
        "mask ratio 0.75",
        "fp32 with AdamW",
        "PyTorch up to 1.10",
        "pytorch#65242",
        "3.29 GiB",
        "about 2 GiB of it unexplained",
    ):
        assert words in said
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('TRIED = {"attn": 23', 'TRIED = {"attn": 24'),
        ("m.save(y.node, x)", "m.save(y.node)"),
    ],
)
def test_a_wrong_figure_is_noticed(
    right: str,
    wrong: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    source = EXAMPLE.read_text(encoding="utf-8")
    # The closest largest batches are those of patch 8: the others need no scan here.
    for old, new in ((right, wrong), ("PATCHES = (4, 8, 16)", "PATCHES = (8,)")):
        assert source.count(old) == 1
        source = source.replace(old, new)
    changed = tmp_path / EXAMPLE.name
    changed.write_text(source, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(changed), run_name="__main__")
    assert ended.value.code == 1
    assert "NO" in capsys.readouterr().out
