"""Fit of a step in a budget, and the changes that would make it fit."""

from __future__ import annotations

import re

import pytest
from commands import Capture
from memory_command import CONTEXT_OF_3090, GIB, MIB, SMALL, document, printed, unwrapped

LARGE = ("--tokens=1024", "--dim=192", "--heads=3")


def test_fits_to_the_byte(capsys: Capture) -> None:
    words = ("--model=classifier", "--batch=300", "--no-trace")
    peak = document(capsys, *words)["totals"]["peak_bytes"]
    enough = document(capsys, *words, f"--memory={peak}B")["fits"]
    assert enough == {"budget_bytes": peak, "takes": peak, "left": 0, "changes": []}
    short = document(capsys, *words, f"--memory={peak - 1}B")["fits"]
    assert (short["takes"], short["left"]) == (peak, -1)
    assert short["changes"][0]["option"] == "--checkpoint"


@pytest.mark.parametrize(
    ("words", "budget"),
    [(("--model=classifier", "--depth=5"), "--memory=60MB"), (LARGE, "--gpu=rtx3090")],
    ids=["memory", "gpu"],
)
def test_what_would_make_it_fit(capsys: Capture, words: tuple[str, ...], budget: str) -> None:
    """Each change fits and takes what is said; of a batch, one image more does not fit."""
    batch = 1500
    given = (*words, budget, "--no-trace")
    said = document(capsys, *given, f"--batch={batch}")["fits"]
    assert said["left"] == said["budget_bytes"] - said["takes"] < 0
    ways = {change["option"]: change["bytes"] for change in said["changes"]}
    assert any(way.startswith("--batch") for way in ways)
    assert len(ways) >= 4
    for way, size in ways.items():
        own, number = way, batch
        if way.startswith("--batch"):
            _, word, *others = way.split()
            own, number = " ".join(others), int(word)
            more = document(capsys, *given, *own.split(), f"--batch={number + 1}")["fits"]
            assert more["left"] < 0
        fits = document(capsys, *given, *own.split(), f"--batch={number}")["fits"]
        assert (fits["takes"], fits["changes"]) == (size, [])
        assert 0 <= fits["left"] == said["budget_bytes"] - size


@pytest.mark.parametrize(
    ("words", "ways"),
    [
        (
            (),
            {"", "--checkpoint", "--dtype bf16 --autocast", "--checkpoint --dtype bf16 --autocast"},
        ),
        (("--checkpoint",), {"", "--dtype bf16 --autocast"}),
        (("--dtype=bf16", "--autocast"), {"", "--checkpoint"}),
        (("--inference",), {"", "--dtype bf16 --autocast"}),
        (("--inference", "--dtype=bf16"), {""}),
    ],
)
def test_changes_are_of_what_is_not_given_yet(
    capsys: Capture, words: tuple[str, ...], ways: set[str]
) -> None:
    """With 10,000 images nothing fits but fewer of them."""
    given = ("--model=classifier", "--batch=10000", "--memory=20MB", "--no-trace")
    changes = document(capsys, *given, *words)["fits"]["changes"]
    options = [re.fullmatch(r"--batch \d+ ?(.*)", change["option"]) for change in changes]
    assert [option is None for option in options] == [False] * len(ways)
    assert {option[1] for option in options if option} == ways


def test_table_says_whether_it_fits(capsys: Capture) -> None:
    words = (*SMALL, "--no-trace")
    peak = document(capsys, *words)["totals"]["peak_bytes"]
    yes = unwrapped(printed(capsys, *words, "--memory=100kB"))
    assert f"fits yes: {100_000 - peak:,} bytes are left of 100,000 bytes" in yes
    no = unwrapped(printed(capsys, *words, "--memory=40kB"))
    assert f"fits no: {peak - 40_000:,} bytes are lacking of 40,000 bytes; what fits: --b" in no
    none = unwrapped(printed(capsys, *words, "--memory=1kB"))
    nothing = "not even one image fits, even with checkpointing and autocast"
    assert f"fits no: {peak - 1000:,} bytes are lacking of 1,000 bytes; {nothing}" in none
    gpu = unwrapped(printed(capsys, *words, "--gpu=rtx3090"))
    left = int(23.56 * GIB) - 22 * MIB - CONTEXT_OF_3090
    assert f"fits yes: {left / GIB:.2f} GiB are left of GeForce RTX 3090, 23.56 GiB" in gpu
    assert not re.search(r"^fits ", printed(capsys, *words), re.MULTILINE)


def test_what_a_gpu_is_said_to_take_is_what_is_held_against_it(capsys: Capture) -> None:
    """Caches of the allocator are released before memory runs out.

    At 13,200 images the segments that a GPU with enough memory would keep are above a 3090's.
    """
    words = ("--tokens=197", "--dim=192", "--heads=3", "--inference", "--no-trace")
    said = document(capsys, *words, "--batch=13200", "--gpu=rtx3090")
    enough = document(capsys, *words, "--batch=13200", "--gpu=h100")
    assert enough["gpu"]["reserved"] > said["fits"]["budget_bytes"]
    assert said["gpu"]["total"] == said["fits"]["takes"] <= said["fits"]["budget_bytes"]
