"""Layers in which compared models differ."""

from __future__ import annotations

import re

from commands import Capture, document
from comparisons import table

import vitprof
from vitprof.request.specs import specify


def test_layers_that_differ(capsys: Capture) -> None:
    found = document(
        capsys,
        *("compare", "--model=classifier", "--dim=12", "--heads=3", "--depth=2", "--layers"),
        *("--pool=mean", "--mixers=attn,hydra,pool", "--up-to=20"),
    )
    layers = {layer.pop("path"): layer["counts"] for layer in found["layers"]}
    # Two blocks at 49 tokens: attention's 4 D² and 2 N² D, hydra's 4 D² alone, pooling nothing.
    assert layers["blocks.0-1.mixer"]["macs"] == {
        "attn": 2 * (4 * 49 * 144 + 2 * 49 * 49 * 12),
        "hydra": 2 * 4 * 49 * 144,
        "pool": None,
    }
    assert layers["blocks.0-1.mixer.qkv"]["params"] == {
        "attn": 2 * (3 * 144 + 36),
        "hydra": 2 * (3 * 144 + 36),
        "pool": None,
    }
    assert "blocks.0-1.mlp" not in layers
    assert "blocks" not in layers  # of whose equal blocks the next row says all
    assert [*layers] == [
        *["blocks.0-1", "blocks.0-1.mixer", "blocks.0-1.mixer.qkv"],
        *["blocks.0-1.mixer.scores", "blocks.0-1.mixer.output", "blocks.0-1.mixer.fc_out"],
    ]


def test_what_only_one_has_stands_where_it_has_it() -> None:
    models = {
        mixer: specify("layer", mixer=mixer, options={"tokens": 49})
        for mixer in ("nystrom", "attn")
    }
    for some in (models, dict(reversed(models.items()))):
        paths = [d.path for d in vitprof.compare(models=some, layers=True, up_to=40).layers]
        assert {"mixer.inverse.0-5", "mixer.inverse.0-5.product", "mixer.scores"} <= {*paths}
        inside = [path for path in paths if path.startswith("mixer.inverse")]
        at = paths.index(inside[0])
        assert paths[at : at + len(inside)] == inside
        assert paths[-1] == "mixer.output"


def test_layers_in_a_table_stand_below_those_they_are_in() -> None:
    report = vitprof.compare("mae", mixers=["attn", "lambda"], layers=True, up_to=16)
    lines = table(report, 100)
    start = next(n for n, line in enumerate(lines) if line.startswith("MACs that differ"))
    rows = lines[start + 2 : lines.index("", start)]
    labels = [re.split(r"(?<=\S)  ", row)[0] for row in rows]
    assert labels[:3] == ["blocks.0-11", "  mixer", "    qkv"]
    assert "decoder_blocks.0-7" in labels
    assert '">blocks.0-11</td>' in report.to_html()
    assert '">&#8195;mixer</td>' in report.to_html()
    assert "\nblocks.0-11 & " in report.to_latex()
    assert "\n\\quad mixer & " in report.to_latex()
