"""The largest batch predicted without a device, against the trace that it is solved from."""

from __future__ import annotations

import json

import pytest

from vitprof.cli import run
from vitprof.formulas.mixers import MIXERS
from vitprof.modules.largest_batch import largest_batch
from vitprof.modules.trace import Trace, trace
from vitprof.specs import specify
from vitprof.workload import Workload

LAYER = {"tokens": 11, "dim": 12, "heads": 3}
MIB = 2**20


def peak(mixer: str, batch: int) -> int:
    model = specify("layer", mixer=mixer, options=LAYER)
    return trace(model, Workload(batch=batch)).peak_bytes


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("batch", [1, 2, 3, 7, 40])
def test_the_largest_fits_and_the_next_does_not(mixer: str, batch: int) -> None:
    model = specify("layer", mixer=mixer, options=LAYER)
    exact = peak(mixer, batch)
    found = largest_batch(model, Workload(), exact)
    assert (found.batch, found.peak_bytes) == (batch, exact)
    assert found.next_peak_bytes == peak(mixer, batch + 1) > exact
    short = largest_batch(model, Workload(), exact - 1)
    assert short.batch == batch - 1
    assert short.next_peak_bytes == exact


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["batch-size", "--tokens=11", "--dim=12", "--heads=3"]
    assert run([*words, "--memory=1MiB", "--format=json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    document = json.loads(out)
    assert document["budget_bytes"] == MIB
    assert document["peak_bytes"] == peak("attn", document["predicted"]) <= MIB
    assert document["next_peak_bytes"] == peak("attn", document["predicted"] + 1) > MIB
    assert run([*words, "--memory=1MiB"]) == 0
    assert f"{document['predicted']:,} takes" in capsys.readouterr().out


def test_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["batch-size", "--tokens=11", "--dim=12", "--heads=3", "--memory=1kiB"]
    assert run(words) == 1
    out, _ = capsys.readouterr()
    assert "largest     none" in out


def test_named_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["batch-size", "--tokens=11", "--gpu=RTX-3090", "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["budget_bytes"] == 24 * 1024 * MIB


def test_an_interrupted_prediction_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: object) -> Trace:
        traced = trace(specify("layer", options=LAYER), Workload(batch=2))
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(given)
        return traced

    asked: list[object] = []
    monkeypatch.setattr("vitprof.modules.largest_batch.trace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        largest_batch(specify("layer", options=LAYER), Workload(), MIB)
    assert len(asked) == 2
