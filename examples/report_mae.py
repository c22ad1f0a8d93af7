"""The parameters that a report on token mixers states, reproduced.

The report trains a masked autoencoder (He et al. 2021) on images of one channel, with
softmax attention and with lambda layers, in two versions: of the one with the large
decoder it prints every layer, of the other the totals. Its totals are sums over layers;
class token, mask token and position tables come on top.

    python examples/report_mae.py
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

import vitprof
from vitprof.report.counts import Counts

LAYERS = "layers"


def large_decoder(mixer: str) -> Counts:
    return vitprof.params(
        "mae",
        mixer=mixer,
        patch_size=8,
        decoder_dim=512,
        decoder_heads=16,
        fold=True,
        counters=["analytic"],
    )


def small_decoder(mixer: str) -> Counts:
    return vitprof.params(
        "mae",
        mixer=mixer,
        patch_size=16,
        decoder_dim=128,
        decoder_heads=8,
        fold=True,
        counters=["analytic"],
    )


def printed(*, mixer: int, decoder_mixer: int, layers: int) -> dict[str, int]:
    """The rows of the report's tables, by path, around the mixers' own."""
    return {
        "patch_embed.proj": 8_320,
        "blocks.0-11.norm1": 256,
        "blocks.0-11.mixer": mixer,
        "blocks.0-11.norm2": 256,
        "blocks.0-11.mlp": 131_712,
        "norm": 256,
        "decoder_embed": 66_048,
        "decoder_blocks.0-7.norm1": 1_024,
        "decoder_blocks.0-7.mixer": decoder_mixer,
        "decoder_blocks.0-7.norm2": 1_024,
        "decoder_blocks.0-7.mlp": 2_099_712,
        "decoder_norm": 1_024,
        "decoder_pred": 32_832,
        LAYERS: layers,
    }


def derivation(report: Counts, figure: str) -> str:
    """The numbers that a figure comes from."""
    if figure == LAYERS:
        layers = [row for row in report.tree if row.level == 1 and row.type != "Parameter"]
        return " + ".join(f"{row.repeat} × {row.each}".removeprefix("1 × ") for row in layers)
    below = [row for row in report.rows if f"{row.path}.".startswith(f"{figure}.")]
    return " + ".join(row.numbers for row in below)


def compare(title: str, report: Counts, stated: Mapping[str, int]) -> bool:
    """Print the figures side by side, those of one where there are equal blocks."""
    found = {row.path: row.each for row in report.tree} | {LAYERS: report.totals["layers"]}
    table = Table(
        Column("figure", no_wrap=True),
        Column("report", no_wrap=True, justify="right"),
        Column("vitprof", no_wrap=True, justify="right"),
        "equal",
        "derivation",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for figure, count in stated.items():
        equal = "yes" if found[figure] == count else "NO"
        numbers = derivation(report, figure)
        table.add_row(figure, f"{count:,}", f"{found[figure]:,}", equal, numbers)
    Console(highlight=False).print(title, "", table, "", sep="\n")
    return all(found[figure] == count for figure, count in stated.items())


def main() -> int:
    """Compare all figures; 0 if all are equal, else 1."""
    equal = [
        compare(
            "attn, large decoder",
            large_decoder("attn"),
            # The heading over this table is a slip: it repeats the total of lambda. The
            # table's rows add up to what its own last line says.
            printed(mixer=66_048, decoder_mixer=1_050_624, layers=27_706_816),
        ),
        compare(
            "lambda, large decoder",
            large_decoder("lambda"),
            printed(mixer=22_240, decoder_mixer=157_840, layers=20_038_848),
        ),
        compare("attn, small decoder", small_decoder("attn"), {LAYERS: 4_048_384}),
        compare("lambda, small decoder", small_decoder("lambda"), {LAYERS: 3_172_224}),
    ]
    print(
        "The report's heading over the table of attn with the large decoder repeats the\n"
        "total of lambda, 20,038,848; the table itself adds up to 27,706,816."
    )
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
