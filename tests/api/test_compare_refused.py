"""Comparisons that are refused."""

from __future__ import annotations

import pytest
from commands import Capture
from comparisons import SIZES, said

import vitprof
from vitprof.allocation.largest_batch import largest_batch
from vitprof.request.budget import Budget
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.sweeps.costs import COSTS


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "nothing is given to compare; give --mixers, such as attn,lambda,linear, --"),
        (("--mixers=attn",), "a comparison needs at least two models, not attn alone; add another"),
        (("--presets=vit-s-16",), "at least two models, not vit-s-16 alone; add another"),
        (("--presets=vit-s-16,vit-s",), "there is no preset 'vit-s'; did you mean vit-"),
        (("--presets=vit-s-16,deit-s", "--mixers=attn,linear"), "mixers and presets exclude"),
        (("--presets=vit-s-16,deit-s", "--model=mae"), "presets name the models; leave out"),
        (("--mixers=attn,attention",), "a comparison needs at least two models, not attn alone"),
        (("--mixers=,",), "no mixer is named; known are attn, "),
        (
            ("--mixer=attn", "--mixers=attn,lambda"),
            "mixer and mixers exclude each other; give one",
        ),
        (("--mixers=attn,lamda",), "there is no mixer 'lamda'; did you mean lambda? known are"),
        (("--mixers=attn,linear", "--budget=3"), "--budget needs --measure; add it"),
        (
            ("--mixers=attn,linear", "--along=token"),
            "no option to search along named 'token'; known",
        ),
        (
            ("--mixers=attn,linear", "--along=mlp-ratio"),
            "mlp ratio is not a whole number; crossovers",
        ),
        (("--mixers=attn,linear", "--up-to=few"), "up to few is not a whole number"),
        (("--mixers=attn,linear", "--up-to=65537"), "give a whole number from 1 to 65536"),
        (
            ("--mixers=attn,linear", "--gpu=h10"),
            "there is no GPU 'h10'; did you mean h100, h100-nvl or h100-pcie?",
        ),
        (("--mixers=attn,linear", "--gpu=h100", "--memory=1GiB"), "both name the memory"),
        (("--mixers=attn,linear", "--gpu=v100"), "several GPUs; give v100-16 or v100-32"),
        (("--mixers=attn,linear", "--torch=2.11"), "give --gpu with it, or leave it out"),
        (("--mixers=attn,linear", "--gpu=h100", "--torch=3.0"), "give a version from 1.12 to 2.13"),
        (("--mixers=attn,linear", "--memory=24"), "without a unit; give one, such as 24GiB or 24B"),
        (("--mixers=attn,linear", "--memory=much"), "memory 'much' is not a memory size"),
        (("--mixers=attn,linear", "--device=tpu"), "device can be cuda or cpu, not 'tpu'"),
        (("--mixers=attn,linear", "--format=htm"), "there is no format 'htm'; did you mean html?"),
        (
            ("--mixers=attn,linear", "--format=junit"),
            "there is no format 'junit'; known are table,",
        ),
        (("--mixers=attn,linear", "--output=a.xml"), "'a.xml' is not that of a format; end it"),
        (("--mixers=attn,linear", "--kernel-size=3"), "kernel size is an option of conv, not of"),
        (("--mixers=attn,pool",), "pool mixes neighbours on a grid, and there is none"),
        (("--specs=nowhere.toml",), "cannot read nowhere.toml"),
    ],
)
def test_refusals(words: tuple[str, ...], sentence: str, capsys: Capture) -> None:
    assert sentence in said(capsys, *words)


def test_a_batch_needs_a_budget() -> None:
    model = specify("layer", options=SIZES)
    with pytest.raises(vitprof.SpecError, match="needs a memory budget; give --gpu, such as h100"):
        COSTS["batch"](model, Workload(), None)
    budget = Budget(bytes=2**30)
    assert COSTS["batch"](model, Workload(), budget) == largest_batch(model, Workload(), 2**30)
