"""Crossovers of compared models, and their sentences by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from commands import Capture, document, printed

from vitprof.allocation.step import peak_bytes
from vitprof.report.compare import CostedStretch, Crossover
from vitprof.request.specs import specify
from vitprof.request.workload import Workload


def test_the_question_of_the_report(capsys: Capture) -> None:
    out = printed(
        capsys,
        *("compare", "--model=layer", "--dim=128", "--heads=8", "--activation=gelu"),
        *("--mixers=attn,lambda", "--along=tokens", "--format=markdown"),
    )
    # At one token, attn 4 128² + 2 128 and lambda 128 160 + 16 16 + 2 8 16 16 + 16 81 16 MACs,
    # beside 8 128² of the MLP; from there on, the difference only grows.
    attn, other = 4 * 128**2 + 2 * 128, 128 * 160 + 256 + 4_096 + 20_736
    assert (
        f"\n\nlambda is cheaper than attn in MACs everywhere, from 1 to 65,536 tokens "
        f"({8 * 128**2 + other:,} against {8 * 128**2 + attn:,} at 1)\n\n"
    ) in out
    # One token of one image has no deviation, which the lambda layer's norms train with.
    assert "\nlambda is cheaper than attn in peak memory everywhere, from 2 to 65,536 tokens" in out


def test_from_where_on(capsys: Capture) -> None:
    # As test_crossover.py derives: 128 N² against 12,800 N.
    found = document(capsys, "compare", "--tokens=50", "--mixers=attn,lambda")
    (params, macs, memory) = found["crossovers"]
    rest = 101 * 8 * 64**2
    attn, other = rest + 16_384 * 101 + 128 * 101**2, rest + 29_184 * 101
    assert macs["sentence"] == (
        f"lambda is cheaper than attn in MACs from 101 tokens on ({other:,} against {attn:,})"
    )
    assert macs["cheaper"] == [{"first": 101, "last": 65_536, "cost": other, "other": attn}]
    rest = 8 * 64**2
    assert macs["dearer"] == [
        {"first": 1, "last": 99, "cost": rest + 16_384 + 128, "other": rest + 29_184}
    ]
    assert (params["first"], params["last"], params["option"]) == (1, 65_536, "tokens")
    first = memory["cheaper"][-1]["first"]
    assert memory["cheaper"][-1]["cost"] == peak_bytes(
        specify("layer", mixer="lambda", options={"tokens": first}), Workload()
    )


def crossover(
    cheaper: tuple[tuple[int, int], ...], dearer: tuple[tuple[int, int], ...], **others: Any
) -> Crossover:
    """Build a crossover from 4 to 1,024 tokens, with 7,000 and 8,000 more MACs than tokens."""
    own, than = 7_000, 8_000
    usual: dict[str, Any] = {"measure": "macs", "option": "tokens", "unit": "tokens"}
    given = {**usual, "squares": False, "step": 1, **others}
    return Crossover(
        name="one",
        than="other",
        first=4,
        last=1024,
        cheaper=tuple(
            CostedStretch(first=a, last=b, cost=a + own, other=a + than) for a, b in cheaper
        ),
        dearer=tuple(
            CostedStretch(first=a, last=b, cost=a + own, other=a + than) for a, b in dearer
        ),
        **given,
    )


@pytest.mark.parametrize(
    ("cheaper", "dearer", "options", "sentence"),
    [
        (
            ((9, 1024),),
            ((4, 8),),
            {},
            "one is cheaper than other in MACs from 9 tokens on (7,009 against 8,009)",
        ),
        (
            ((4, 1024),),
            (),
            {"measure": "memory"},
            "one is cheaper than other in peak memory everywhere, from 4 to 1,024 tokens "
            "(7,004 against 8,004 bytes at 4)",
        ),
        (
            (),
            ((4, 1024),),
            {},
            "one is dearer than other in MACs everywhere, from 4 to 1,024 tokens "
            "(8,004 against 7,004 at 4)",
        ),
        (
            (),
            ((9, 1024),),
            {"option": "image_size", "unit": "pixels"},
            "one is nowhere cheaper than other in MACs, from image size 4 to 1,024, and dearer "
            "from image size 9 on",
        ),
        (
            (),
            (),
            {"measure": "params"},
            "one costs the same as other in parameters, from 4 to 1,024 tokens",
        ),
        (
            ((4, 8),),
            ((10, 1024),),
            {},
            "one is cheaper than other in MACs up to 8 tokens; other is from 10 tokens on "
            "(7,010 against 8,010)",
        ),
        (((4, 8),), (), {}, "one is cheaper than other in MACs up to 8 tokens, and nowhere dearer"),
        (
            ((5, 5), (9, 16)),
            ((4, 4), (20, 30)),
            {"option": "dim", "unit": ""},
            "one is cheaper than other in MACs at dim 5 and from dim 9 to 16; other is at dim 4 "
            "and from dim 20 to 30",
        ),
        (
            ((4, 5), (7, 9), (11, 12), (20, 1024)),
            ((6, 6),),
            {},
            "one is cheaper than other in MACs up to 5 tokens, in 2 stretches after that and from "
            "20 tokens on (7,020 against 8,020)",
        ),
        (
            ((1024, 1024),),
            ((4, 1023),),
            {},
            "one is cheaper than other in MACs at 1,024 tokens (8,024 against 9,024)",
        ),
    ],
)
def test_sentences(cheaper: Any, dearer: Any, options: Mapping[str, Any], sentence: str) -> None:
    assert crossover(cheaper, dearer, **options).sentence == sentence


def test_no_crossover_has_a_reason(capsys: Capture) -> None:
    words = ("compare", "--tokens=49", "--mixers=attn,nystrom,pool", "--up-to=6")
    found = document(capsys, *words)
    assert {crossover["name"] for crossover in found["crossovers"]} == {"pool"}
    assert "at 6, 7 landmarks do not divide 6 tokens; " in found["unsearched"]["nystrom"]
    lines = printed(capsys, *words).splitlines()
    assert any(line.startswith("nystrom, no crossover  there is no size from") for line in lines)
    assert any(line.startswith("crossovers ") and "pool only at square" in line for line in lines)


@pytest.mark.parametrize(
    ("mixers", "sentence"),
    [
        (
            "attn,nystrom,pool",
            "of nystrom only at multiples of 7 tokens; of pool only at square numbers of tokens, "
            "which form a grid",
        ),
        (
            "nystrom,pool",
            "of pool only at square numbers of tokens that 7 divides, which form a grid",
        ),
    ],
)
def test_sizes_that_were_searched_are_said(capsys: Capture, mixers: str, sentence: str) -> None:
    words = ("compare", "--tokens=49", f"--mixers={mixers}", "--up-to=60", "--format=markdown")
    assert sentence in printed(capsys, *words)
