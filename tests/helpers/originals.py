"""Presets beside the library's own models, row by row.

A preset is built with fused attention, as timm calls it; one with a bias of the scores, which is
explicit, is compared with timm's explicit attention. What is compared is each count of a module
that has parameters or multiply-accumulates, whatever the module is called. The outcome is
`tests/data/originals.jsonl`, written by

    python tests/helpers/originals.py > tests/data/originals.jsonl

or, for some presets, by `python tests/helpers/originals.py 'beit*'`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from timm.layers.config import set_fused_attn

import vitprof
from vitprof.published import PRESETS
from vitprof.published.preset import Preset
from vitprof.report.counts import Counts
from vitprof.request.specs import specify

DATA = Path(__file__).parents[1] / "data" / "originals.jsonl"
_VIDEO = "transformers:VideoMAEForVideoClassification"
ARGUMENTS: dict[str, tuple[str, dict[str, Any]]] = {  # of models that no name stands for
    "ast-b-16": (
        "transformers:ASTForAudioClassification",
        {"arg": {"num_labels": 527}, "input": "1024x128"},
    ),
    "videomae-b-16": (_VIDEO, {"arg": {"num_labels": 400}}),
    "videomae-l-16": (
        _VIDEO,
        {
            "arg": {"num_labels": 400, "hidden_size": 1024, "num_hidden_layers": 24}
            | {"num_attention_heads": 16, "intermediate_size": 4096}
        },
    ),
}
ORIGINALS = [
    (preset, reference)
    for preset in PRESETS.values()
    for reference in (*preset.libraries, *ARGUMENTS.get(preset.name, ())[:1])
    # torchvision's attention holds weights without a module
    if reference.startswith(("timm:", "transformers:"))
]


class Compared(NamedTuple):
    """Counts of a preset and of the library's model, as often as each comes."""

    own: Counter[int]
    original: Counter[int]

    @property
    def equal(self) -> bool:
        """True if both have the same rows."""
        return self.own == self.original


def compare(preset: Preset, reference: str) -> dict[str, Compared]:
    """Return the rows of parameters and of MACs, by command."""
    known = specify(options={"preset": preset.name}).options()
    options = ("pool", "talking_heads", "relative")
    given = {option: preset.options.get(option) for option in options}
    fused: dict[str, Any] = {
        name: True
        for name, is_there in (
            ("fused", "fused" in known and not (given["talking_heads"] or given["relative"])),
            ("pool_fused", given["pool"] == "map"),
            ("class_fused", given["pool"] == "class"),
        )
        if is_there
    }
    alone: dict[str, Any] = {"counters": ["analytic"]}
    words = ARGUMENTS[preset.name][1] if preset.name in ARGUMENTS else {}
    set_fused_attn(not given["relative"])
    try:
        return {
            command: Compared(
                _rows(count(preset=preset.name, **fused, **alone)),
                _rows(count(module=reference, **words, **alone)),
            )
            for command, count in (("params", vitprof.params), ("macs", vitprof.macs))
        }
    finally:
        set_fused_attn(True)


def _rows(report: Counts) -> Counter[int]:
    rows: Counter[int] = Counter()
    for row in report.rows:
        if row.each:
            rows[row.each] += row.repeat
    return rows


def main() -> int:
    wrong, pattern = 0, sys.argv[1] if len(sys.argv) > 1 else "*"
    for preset, reference in ORIGINALS:
        if not fnmatchcase(preset.name, pattern):
            continue
        row: dict[str, object] = {"preset": preset.name, "original": reference}
        for command, compared in compare(preset, reference).items():
            row[command] = sum(count * often for count, often in compared.own.items())
            row[f"rows of {command}"] = compared.own.total()
            row[f"{command} only here"] = _list(compared.own - compared.original)
            row[f"{command} only there"] = _list(compared.original - compared.own)
            wrong += not compared.equal
        sys.stdout.write(f"{json.dumps(row)}\n")
    return 1 if wrong else 0


def _list(rows: Counter[int]) -> list[list[int]]:
    return [[count, often] for count, often in sorted(rows.items())]


if __name__ == "__main__":
    sys.exit(main())
