"""Prediction of the memory figures of a report on token mixers.

The report trains a masked autoencoder on images of one channel, with a small decoder (128
wide, 8 blocks, 8 heads). It gives the memory of five runs on a GPU, and the largest batch of
three mixers, and nothing else. Assumed here:

- images of 256 × 256, of which the encoder sees a quarter (mask ratio 0.75);
- training in fp32 with AdamW, the gradients dropped before each step;
- the softmax of PyTorch up to 1.10, which kept its input beside its output (pytorch#65242);
- a constant of 3.29 GiB for context, libraries and anything else. The report's figures for
  lambda are on a line in batch × patches with an intercept of 3.33; parameters and optimizer
  are 0.04 of it. About 2 GiB are unexplained.

The size of the images, the softmax and the constant were chosen by these figures, so totals
that fit prove little; the differences, in which the constant cancels, say more. For the
report's GPU only the tensors are predicted, without the memory that the allocator reserves
beyond them. The old softmax is a rule of this file, which replaces that of today's PyTorch.

The last table needs none of these assumptions. Its largest batches were found by trial on an
H100 limited to 24 GiB, and are predicted with all that PyTorch reserves on it.

    python examples/report_memory.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise, product

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels import norms
from vitprof.allocation.largest_batch import largest_batch, largest_batch_on_gpu
from vitprof.allocation.rules import RULES, Rule
from vitprof.allocation.step import peak_bytes
from vitprof.cuda.gpus import find_gpu, gpus
from vitprof.cuda.platform import Platform
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op
from vitprof.formulas.work import Work
from vitprof.request.specs import specify
from vitprof.request.workload import Workload

GB, GIB = 10**9, 2**30
CONSTANT = 329 * GIB // 100

PATCHES = (4, 8, 16)
DECODERS = ((128, 8), (512, 16))  # the report's two: width and heads
MEMORIES = sorted({int(gpu.memory) * GIB for gpu in gpus() if 10 <= gpu.memory <= 24})

LARGEST = {"attn": 23, "lambda": 49, "linear": 87}
LARGEST_WITHIN = 53  # percent, at worst, of the closest that is found

# By trial on an H100 of which PyTorch could reserve 24 GiB, with PyTorch 2.11 and today's softmax;
# patch 8 and the wider of the report's decoders.
H100, LIMIT = Platform(gpu=find_gpu("h100"), torch=(2, 11)), 24 * GIB
TRIED = {"attn": 23, "lambda": 87, "linear": 60}
TRIED_WITHIN = 3  # percent


def softmax(m: Eager, op: Op, x: Tensor) -> Tensor:
    """Follow the softmax of PyTorch up to 1.10, which saves its input beside its output."""
    y = norms.softmax(m, x)
    m.save(y.node, x)
    return y


OLD: Mapping[Work, Rule] = {**RULES, Work.SOFTMAX: softmax}


def autoencoder(mixer: str, patch: int, decoder: tuple[int, int] = DECODERS[0]) -> Model:
    width, heads = decoder
    sizes = {"image_size": 256, "mask_ratio": "0.75", "patch_size": patch}
    return specify(
        "mae", mixer=mixer, options={**sizes, "decoder_dim": width, "decoder_heads": heads}
    )


def training(batch: int = 1) -> Workload:
    return Workload(batch=batch, dtype="fp32", optimizer="adamw")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Figure of the report, and its prediction.

    Attributes:
        name: name of the run.
        reported: the report's figure, in its GB.
        old: predicted bytes by the rules of that time, with the constant.
        today: predicted bytes by today's rules, without the constant.
        within: largest error of the prediction in GiB, in percent, as stated here.
    """

    name: str
    reported: float
    old: int
    today: int
    within: int

    def less(self, other: Figure, *, within: int) -> Figure:
        """Return the difference of this figure less another."""
        return Figure(
            name=f"{self.name} − {other.name.partition(', ')[2]}",
            reported=self.reported - other.reported,
            old=self.old - other.old,
            today=self.today - other.today,
            within=within,
        )


def figure(mixer: str, patch: int, batch: int, reported: float, *, within: int) -> Figure:
    model, workload = autoencoder(mixer, patch), training(batch)
    return Figure(
        name=f"{mixer}, {patch} × {batch}",
        reported=reported,
        old=peak_bytes(model, workload, rules=OLD) + CONSTANT,
        today=peak_bytes(model, workload),
        within=within,
    )


def percent(found: float, stated: float) -> float:
    return 100 * (found / stated - 1)


def table_of(first: str, *others: str) -> Table:
    return Table(
        Column(first, no_wrap=True),
        *(Column(name, no_wrap=True, justify="right") for name in others),
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def show(table: Table, text: str) -> None:
    Console(highlight=False).print(table)
    print(f"\n{text}\n")


def compare(first: str, figures: Iterable[Figure], text: str) -> bool:
    """Print the figures side by side; return True if each is as near as stated."""
    table = table_of(first, "report", "GiB", "%", "within", "", "or GB", "%", "today")
    right = []
    for one in figures:
        off = percent(one.old / GIB, one.reported)
        right.append(abs(off) <= one.within)
        table.add_row(
            one.name,
            f"{one.reported:.1f}",
            f"{one.old / GIB:.2f}",
            f"{off:+.1f}",
            f"{one.within}",
            "yes" if right[-1] else "NO",
            f"{one.old / GB:.2f}",
            f"{percent(one.old / GB, one.reported):+.1f}",
            f"{one.today / GIB:.2f}",
        )
    show(table, text)
    return all(right)


def compare_largest() -> bool:
    """Print the model and the GPU memory that come closest to the report's largest batches."""
    scanned = []
    for patch, decoder, size in product(PATCHES, DECODERS, MEMORIES):
        found = {
            mixer: largest_batch(
                autoencoder(mixer, patch, decoder), training(), size - CONSTANT, rules=OLD
            )
            for mixer in LARGEST
        }
        worst = max(abs(percent(found[mixer], LARGEST[mixer])) for mixer in LARGEST)
        scanned.append((worst, patch, decoder, size, found))
    worst, patch, (width, heads), size, closest = min(scanned, key=lambda one: one[0])
    right = worst <= LARGEST_WITHIN
    table = table_of("largest batch", "report", "closest", "%")
    for mixer, reported in LARGEST.items():
        off = percent(closest[mixer], reported)
        table.add_row(mixer, f"{reported}", f"{closest[mixer]}", f"{off:+.1f}")
    above = sum(found["lambda"] > found["linear"] for *_, found in scanned)
    show(
        table,
        f"Closest: patch {patch}, decoder {width} wide with {heads} heads, a GPU of "
        f"{size // GIB} GiB. The worst\nis within {LARGEST_WITHIN} %: {'yes' if right else 'NO'}. "
        f"This is the best of {len(scanned)} scanned and not a fit: patch\n"
        f"{', '.join(map(str, PATCHES))}, the report's two decoders, GPUs of "
        f"{', '.join(f'{one // GIB}' for one in MEMORIES)} GiB,\nthe constant and the softmax "
        "as above.\n"
        f"In {above} of {len(scanned)} lambda fits a larger batch than linear. The report has "
        "it the\nother way round, so with these layers no GPU and no constant gives all three.",
    )
    return right


def compare_tried() -> bool:
    """Print the largest batches by trial on an H100, and their predictions."""
    table = table_of("largest batch", "report", "by trial", "predicted", "%")
    right = []
    for mixer, tried in TRIED.items():
        model = autoencoder(mixer, 8, DECODERS[1])
        found = largest_batch_on_gpu(model, training(), H100, capacity=LIMIT)
        off = percent(found, tried)
        right.append(abs(off) <= TRIED_WITHIN)
        table.add_row(mixer, f"{LARGEST[mixer]}", f"{tried}", f"{found}", f"{off:+.1f}")
    show(
        table,
        "By trial: an H100 limited to 24 GiB with PyTorch 2.11, patch 8, decoder 512 wide\n"
        "with 16 heads, today's softmax. Predicted: the same, with all that PyTorch\n"
        f"reserves. Each is within {TRIED_WITHIN} %: {'yes' if all(right) else 'NO'}. Attention "
        "takes what the report says.\nlambda takes more images than linear here, too: 87,\nwhich "
        "the report has of linear.",
    )
    return all(right)


def main() -> int:
    """Compare all figures; return 0 if each is as near as stated, else 1."""
    print(
        "Assumed: images of 256 × 256, mask ratio 0.75, training in fp32 with AdamW, the\n"
        "softmax of PyTorch up to 1.10, which kept its input too (pytorch#65242), and a\n"
        "constant of 3.29 GiB for context, libraries and anything else, about 2 GiB of it\n"
        "unexplained. GB may be GiB or 10^9 bytes; differences in %. Today: GiB with\n"
        "today's softmax and no constant.\n"
    )
    runs = {
        "attn": [
            figure("attn", 8, 10, 10.5, within=3),
            figure("attn", 4, 1, 13.6, within=2),
        ],
        "lambda": [
            figure("lambda", 4, 1, 3.8, within=3),
            figure("lambda", 8, 10, 4.5, within=6),
            figure("lambda", 4, 10, 8.0, within=13),
        ],
    }
    apart = {"attn": 3, "lambda": 21}
    right = [
        compare(
            "run, patch × batch",
            [run for of_mixer in runs.values() for run in of_mixer],
            "In GiB four of the five fit within 6 %, and lambda, 4 × 10, is 12 % low: no fit.\n"
            "In GB of 10^9, with the same constant of 3.29 GiB, all five are within 7 %.",
        ),
        compare(
            "run less another",
            [
                more.less(less, within=apart[mixer])
                for mixer, of_mixer in runs.items()
                for less, more in pairwise(of_mixer)
            ],
            "Here the constant cancels. In GiB attn fits within 3 %, and with today's softmax\n"
            "it is half of the report's. lambda does not fit: the report's took a quarter\n"
            "more than the formula says. In GB of 10^9 neither fits.",
        ),
        compare_largest(),
        compare_tried(),
    ]
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
