"""timm's own table of inference speeds, whose GMACs fvcore counted, against captures.

As a script, this module draws models of the table by a seed, captures each at the table's image
size, and writes what fvcore's convention predicts beside what was printed:

    python tests/helpers/timm_table.py benchmark-infer-amp-nchw-pt113-cu117-rtx3090.csv
"""

from __future__ import annotations

import csv
import json
import random
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from captures import FUSED, captured, reads

from vitprof.captured.calling import build_without_data
from vitprof.captured.libraries import find_source
from vitprof.captured.source import Source

PATH = Path(__file__).parents[1] / "data" / "timm" / "table.jsonl"
SEED, DRAWN = 20230, 100
# What timm 1.0 builds otherwise than 0.8.13, whose models count as printed when they are captured.
_CHANGED = {
    "ecaresnext50t_32x4d": "timm 0.8.13 built 2 blocks a stage, 1.0 builds 3, 4, 6 and 3; the "
    "earlier model counts 2,699,054,592 and 15,406,220",
    "swinv2_cr_large_384": "timm 0.8.13 took a mean, of which fvcore counts nothing, 1.0 has "
    "adaptive_avg_pool2d; the earlier model counts 108,954,783,744",
    "tnt_b_patch16_224": "timm 0.8.13 had the norms that 1.0 builds with legacy=True; so it "
    "counts 14,088,676,480 and 65,406,600",
}
# Attention was not fused when the table was made.
_FUSED = (FUSED, "scaled_dot_product_attention has no rule")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model of the table.

    Attributes:
        name: its name in timm.
        size: height and width of its images.
        gmacs: flops that fvcore counted, in 10⁹, as printed.
        params: parameters in 10⁶, as printed.
        flops: what fvcore's convention predicts of the capture, attention not fused.
        parameters: parameters that are counted.
        why: the reason for which the two differ; empty if they agree.
    """

    name: str
    size: int
    gmacs: str
    params: str
    flops: int
    parameters: int
    why: str = ""

    @property
    def agrees(self) -> bool:
        """True if both figures are the printed ones, to the last digit."""
        return _printed(self.flops, 9, self.gmacs) and _printed(self.parameters, 6, self.params)


def _printed(number: int, power: int, text: str) -> bool:
    return round(Decimal(number).scaleb(-power), 2) == Decimal(text)


def read_rows() -> list[Row]:
    """Return the rows that were written."""
    return [Row(**json.loads(line)) for line in PATH.read_text().splitlines()]


def count(name: str, size: int) -> tuple[int, int]:
    """Return what fvcore's convention predicts of a model of timm, and its parameters."""
    reference = f"timm:{name}"
    source: Source = find_source(reference)
    if source.inputs[0].axes[1:] != (3, size, size):
        built = source.resized(size, size)
        source = built or find_source(reference, inputs=[f"3x{size}x{size}"])
    tree = captured(source)
    parameters = sum(one.numel() for one in build_without_data(source).parameters())
    return reads(tree, "fvcore", _FUSED), parameters


def main(table: str) -> None:
    """Draw models of the table, capture them, and write the rows."""
    from timm import list_models  # noqa: PLC0415  # takes seconds

    there = set(list_models())
    with Path(table).open() as file:
        known = [row for row in csv.DictReader(file) if row["model"] in there]
    known.sort(key=lambda row: row["model"])
    drawn = random.Random(SEED).sample(known, DRAWN)
    rows = [_row(one) for one in sorted(drawn, key=lambda row: row["model"])]
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text("".join(f"{json.dumps(vars(row), ensure_ascii=False)}\n" for row in rows))
    sys.stdout.write(f"{sum(row.agrees for row in rows)} of {len(rows)} agree\n")


def _row(one: dict[str, Any]) -> Row:
    name, size = one["model"], int(one["infer_img_size"])
    flops, parameters = count(name, size)
    row = Row(
        name=name,
        size=size,
        gmacs=one["infer_gmacs"],
        params=one["param_count"],
        flops=flops,
        parameters=parameters,
        why=_CHANGED.get(name, ""),
    )
    sys.stdout.write(f"{'=' if row.agrees else '≠'} {row}\n")
    sys.stdout.flush()
    return row


if __name__ == "__main__":
    main(sys.argv[1])
