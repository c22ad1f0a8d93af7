"""Requests of memory that are refused."""

from __future__ import annotations

import re
from shlex import split

import pytest
from commands import Capture

from vitprof.api import memory as footprint
from vitprof.cli import run
from vitprof.errors import SpecError


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "--optimizer rmsprop",
            "optimizer can be sgd, momentum, adam, adamw or lamb, not 'rmsprop'",
        ),
        ("--batch 0", "batch 0 is out of range; give a whole number from 1 to"),
        ("--batch many", "batch many is not a whole number"),
        ("--dtype int8", "dtype can be fp32, bf16, fp16, .* or fp16-autocast, not 'int8'"),
        ("--autocast", "autocast has no effect with dtype fp32; leave .* give dtype bf16 or fp16"),
        ("--autocast --dtype fp32", "autocast has no effect with dtype fp32"),
        ("--memory 24", "memory '24' is 24 bytes without a unit; give one, such as 24GiB or 24B"),
        ("--memory 12parsec", "memory '12parsec' is not a memory size.*such as 24GiB"),
        ("--memory 0", "memory '0' is less than one byte"),
        ("--memory 1GiB --gpu t4", "memory and gpu both name the memory; give one of the two"),
        ("--gpu a100", "'a100' is the name of several GPUs; give a100-40 or a100-80"),
        ("--gpu v100", "'v100' is the name of several GPUs; give v100-16 or v100-32"),
        ("--gpu rtx6000", "several GPUs; give quadrortx6000, rtx6000ada or rtxpro6000"),
        ("--gpu rtx3091", "there is no GPU 'rtx3091'; did you mean rtx3090"),
        ("--torch 2.11", "torch 2.11 says which version runs on a GPU; give --gpu with it"),
        ("--gpu h100 --torch 0.4", "the rules of torch 0.4 are not known; give .* 1.12 to 2.13"),
        ("--gpu h100 --device cpu", "the step of the CPU takes no memory of H100 SXM5 80GB"),
        ("--measure --device cpu", "the step of the CPU is not measured"),
        ("--inference --checkpoint", "checkpoint has no effect with inference"),
        ("--inference --keep-gradients", "keep gradients has no effect with inference"),
        ("--inference --accumulate 2", "accumulate 2 has no effect with inference"),
        ("--inference --ddp view", "ddp view has no effect with inference"),
        ("--inference --optimizer sgd", "optimizer sgd has no effect with inference"),
        ("--inference --clip", "clip has no effect with inference; leave it out, or leave out i"),
        (
            "--ddp view --keep-gradients",
            "ddp view keeps .* in its buckets; leave out keep gradients",
        ),
        ("--optimizer lamb", "kernel foreach is none of lamb, .*; give kernel loop"),
        ("--accumulate 0", "accumulate 0 is out of range; give a whole number from 1 to"),
        ("--device tpu", "device can be cuda or cpu, not 'tpu'"),
        ("--kernel triton", "kernel can be foreach, fused or loop, not 'triton'"),
        ("--mixer lamda", "'lamda'.*did you mean lambda"),
        ("--dim 10 --heads 3", "dim 10 .*3 heads"),
        ("--levels 0", "levels 0 .*from 1 to"),
        ("--format yaml", "yaml"),
        ("--output report.xls", r"'report\.xls'"),
        ("--counters analytic", "--counters"),
    ],
)
def test_bad_request(capsys: Capture, line: str, sentence: str) -> None:
    assert run(["memory", "--no-trace", *split(line)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.fullmatch(rf"vitprof: .*{sentence}.*\n", err)


def test_function_refuses_an_unknown_option() -> None:
    with pytest.raises(SpecError, match="bach"):
        footprint.memory("layer", bach=3, trace=False)
    with pytest.raises(SpecError, match="autocast has no effect with dtype fp32"):
        footprint.memory("layer", autocast=True, trace=False)
