"""Presets against the models of timm and transformers, row by row."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product
from typing import Any

import pytest
import torch
import transformers
from cases import for_each
from originals import DATA, ORIGINALS, compare

from vitprof.formulas.mixer import MixerSizes
from vitprof.published import find_preset
from vitprof.request.specs import specify

ROWS: dict[tuple[str, str], Any] = {
    (row["preset"], row["original"]): row
    for row in map(json.loads, DATA.read_text(encoding="utf-8").splitlines())
}
Rows = dict[str, list[list[int]]]


def cut_otherwise(name: str) -> Rows:
    """Return the rows of layers that are cut otherwise there, by D, N, L blocks, hidden width."""
    model = specify(options={"preset": name})
    (stage, *_), mixer = model.stages, model.mixer.values()
    sizes, L, H = stage.block.sizes, stage.depth.value, stage.block.hidden
    D, N = sizes.dim.value, sizes.tokens.value
    if name.startswith("resmlp"):  # gain and bias of an affine norm are rows of their own
        return _cut("params", [[2 * D, 2 * L + 1]], [[D, 2 * (2 * L + 1)]])
    if name.startswith("poolformer-"):  # so are those of a group norm; a width can be twice another
        whole, halves = Counter[int](), Counter[int]()
        for one in model.stages:
            width, norms = one.block.sizes.dim.value, 2 * one.depth.value
            whole[2 * width] += norms
            halves[width] += 2 * norms
        return _cut("params", _listed(whole - halves), _listed(halves - whole))
    if mixer.get("rope") == "mixed":  # frequencies of all blocks are one parameter
        return _cut("params", [[D // 2, 2 * L]], [[L * D, 1]])
    if name.startswith("ast"):  # transformers' queries, keys and values are three layers
        layers = _cut("params", [[3 * (D * D + D), L]], [[D * D + D, 3 * L]])
        return layers | _cut("macs", [[3 * N * D * D, L]], [[N * D * D, 3 * L]])
    if name.startswith("videomae"):  # biases are apart there, and the positions are no parameter
        return _cut("params", [[D * D + D, 2 * L], [N * D, 1]], [[D, 2 * L], [D * D, 2 * L]])
    # Queries, keys and values are one layer.
    if name.startswith(("beit", "eva02-t", "eva02-s", "swinv2")):
        return _of_one_layer([(stage.sizes, stage.depth.value) for stage in model.stages])
    if name.startswith(("eva02", "dinov3")) and model.values()["mlp"] == "gated":
        layer = D * H + H  # gate and value are two layers
        layers = _cut("params", [[2 * layer, L]], [[layer, 2 * L]])
        return layers | _cut("macs", [[2 * N * D * H, L]], [[N * D * H, 2 * L]])
    return {}


def _of_one_layer(stages: list[tuple[MixerSizes, int]]) -> Rows:
    """Return the rows of layers of which only those of queries and values have a bias."""
    here, there = Counter[int](), Counter[int]()
    products, of_one = Counter[int](), Counter[int]()
    for sizes, L in stages:
        D, N = sizes.dim.value, sizes.tokens.value
        here += Counter({D * D: L, D * D + D: 2 * L})
        there += Counter({D: 2 * L, 3 * D * D: L})
        products[N * D * D] += 3 * L
        of_one[3 * N * D * D] += L
    layers = _cut("params", _listed(here), _listed(there))
    return layers | _cut("macs", _listed(products), _listed(of_one))


def _listed(rows: Counter[int]) -> list[list[int]]:
    return [[count, often] for count, often in sorted(rows.items())]


def _cut(command: str, here: list[list[int]], there: list[list[int]]) -> Rows:
    return {f"{command} only here": here, f"{command} only there": there}


def test_every_preset_with_an_original_was_compared() -> None:
    assert [*ROWS] == [(preset.name, reference) for preset, reference in ORIGINALS]


@for_each("row", ROWS.values(), ids=lambda row: row["preset"])
def test_presets_have_the_rows_of_their_originals(row: Any) -> None:
    cut = cut_otherwise(row["preset"])
    for command, side in product(("params", "macs"), ("here", "there")):
        assert row[f"{command} only {side}"] == cut.get(f"{command} only {side}", [])


def test_videomae_in_pretraining_has_the_parameters_of_transformers() -> None:
    """It takes a mask of which it reads the values, so that it cannot be captured."""
    spec = specify(options={"preset": "videomae-b-16-pre"})
    library: Any = transformers
    config = library.VideoMAEConfig(use_mean_pooling=False)
    with torch.device("meta"):
        original = library.VideoMAEForPreTraining(config)
    own = spec.build(device="meta", dtype=torch.float32)
    sizes, originals = (
        Counter(parameter.numel() for parameter in module.parameters())
        for module in (own, original)
    )
    # The positions of encoder and decoder are no parameters there.
    assert sizes - originals == Counter([1568 * 768, 1568 * 384])
    assert not originals - sizes


@pytest.mark.parametrize("name", ["siglip-b-16-224"])
def test_a_preset_is_compared_anew(name: str) -> None:
    preset = find_preset(name)
    found = compare(preset, preset.libraries[0])
    row = ROWS[name, preset.libraries[0]]
    for command, compared in found.items():
        assert compared.equal
        assert compared.own.total() == row[f"rows of {command}"]
        assert sum(count * often for count, often in compared.own.items()) == row[command]
