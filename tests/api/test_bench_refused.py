"""Benchmarks that are refused."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from commands import Capture, changed
from commands import refused as said

TINY = ("bench", "--tokens=9", "--dim=16", "--heads=2", "--threads=1", "--budget=1")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--batch=0", "batch 0 is out of range"),
        ("--dtype=fp8", "dtype can be fp32, bf16 or fp16, not 'fp8'"),
        ("--autocast", "autocast has no effect with dtype fp32"),
        ("--optimizer=adm", "optimizer can be sgd, .* not 'adm'"),
        ("--kernel=fast", "kernel can be foreach, fused or loop, not 'fast'"),
        ("--device=cuda:99", "no device 'cuda:99' here; PyTorch .* sees cpu"),
        ("--device=meta", "no device 'meta' here"),
        ("--device=", "no device '' here"),
        ("--threads=-1", "threads -1 is out of range"),
        ("--spread=0", "spread 0 is out of range"),
        ("--spread=nan", "spread nan is not a number"),
        ("--budget=soon", "budget soon is not a whole number"),
        ("--gpu=a100", "name of several GPUs; give a100-40 or a100-80$"),
        ("--memory=24", "24 bytes without a unit; give one, such as 24GiB or 24B$"),
        ("--torch=2.11", "give --gpu with it, or leave it out$"),
        ("--gpu=h100 --torch=new", "torch 'new' is no version; give one such as 2.13$"),
        ("--format=markdwn", "no format 'markdwn'; did you mean markdown"),
        ("--format=junit", "no format 'junit'; known are table, .* json and parquet$"),
        (
            "--format=parquet",
            "parquet cannot be printed to the terminal; give --output FILE.parquet",
        ),
        ("--output=speed.xml", "'speed.xml' is not that of a format; end it in .txt,"),
        ("--mixers=attn,lamda", "no mixer 'lamda'; did you mean lambda"),
        ("--mixers=,", "no mixer is named; known are attn, diff"),
        ("--mixers=attn --mixer=attn", "mixer and mixers exclude each other; give one of"),
        ("--mixers=attn --presets=vit-s-16", "mixers and presets exclude each other"),
        ("--mixers=attn,linear --key-depth=5", "key depth is an option of lambda"),
        (
            "--mixers=attn --classes=5",
            "classes is an option of classifier and pyramid, not of layer",
        ),
        ("--heads=3", "dim 16 is not divisible by 3 heads"),
    ],
)
def test_bad_request(capsys: Capture, words: str, sentence: str) -> None:
    assert re.search(sentence, said(capsys, *changed(TINY, *words.split()), code=2))


def test_refusal_loads_no_torch() -> None:
    code = (
        "import sys; from vitprof.cli import run; assert run(['bench', '--batch=0']) == 2;"
        "assert 'vitprof.api.bench' in sys.modules; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
