"""Search for the largest batch with scripted trials."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from vitprof.measuring.search import (
    STRATEGIES,
    Search,
    Stopped,
    Trial,
    TrialError,
    TrialTimeoutError,
    search,
)
from vitprof.measuring.trials import Device
from vitprof.report.batch_size import TriedBatch

MOST = 65_536

# The report's log: `FIGURES.md`, section 1.
LOGS = {
    87: "512 NG, 256 NG, 128 NG, 64 OK, 96 NG, 80 OK, 88 NG, 84 OK, 86 OK, 87 OK",
    23: "512 NG, 256 NG, 128 NG, 64 NG, 32 NG, 16 OK, 24 NG, 20 OK, 22 OK, 23 OK",
    49: "512 NG, 256 NG, 128 NG, 64 NG, 32 OK, 48 OK, 56 NG, 52 NG, 50 NG, 49 OK",
}


def script(fits: Callable[[int], bool]) -> Callable[[int], Trial]:
    return lambda batch: Trial(batch=batch, fits=fits(batch))


def searched(
    strategy: str,
    start: int,
    try_batch: Callable[[int], Trial],
    most: int = MOST,
    told: list[Trial] | None = None,
) -> Search:
    tell = (lambda trial: None) if told is None else told.append
    return search(try_batch, strategy=strategy, start=start, most=most, budget_bytes=1, tell=tell)


def up_to(truth: int) -> Callable[[int], Trial]:
    return script(lambda batch: batch <= truth)


@pytest.mark.parametrize("truth", LOGS)
def test_log_of_the_report(truth: int) -> None:
    told: list[Trial] = []
    found = searched("bisect", 512, up_to(truth), told=told)
    lines = [f"batch_size={said}".replace(" ", " => ") for said in LOGS[truth].split(", ")]
    assert [trial.line for trial in told] == lines
    assert found.trials == tuple(told)
    assert found.largest == truth


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("start", [1, 87, 512, 600])
def test_every_truth(strategy: str, start: int) -> None:
    for truth in range(601):
        found = searched(strategy, start, up_to(truth))
        batches = [trial.batch for trial in found.trials]
        assert found.largest == (truth or None)
        assert found.stopped is (Stopped.BRACKETED if truth else Stopped.NONE)
        assert len(batches) == len({*batches})
        # The answer and the next larger batch were tried.
        assert {truth, truth + 1} - {0} <= {*batches}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("most", [1, 2, 100, 511])
def test_cap(strategy: str, most: int) -> None:
    for start in (1, 64, 512):
        for truth in (0, 1, 50, 99, 100, 511, 10_000):
            found = searched(strategy, start, up_to(truth), most)
            assert all(1 <= trial.batch <= most for trial in found.trials)
            assert found.largest == (min(truth, most) or None)
            assert (found.stopped is Stopped.CAP) is (truth >= most)


def trials_for(truth: int, percent: int) -> int:
    """Return the number of trials of `predict` from a percentage of the true answer."""
    return len(searched("predict", truth * percent // 100, up_to(truth)).trials)


def test_prediction_saves_trials() -> None:
    truths = range(1, 601)
    exact = [trials_for(truth, 100) for truth in truths]
    blind = [len(searched("bisect", 512, up_to(truth)).trials) for truth in truths]
    assert max(exact) <= 5
    assert sum(exact) / len(exact) <= 4
    assert sum(blind) / len(blind) > 9
    # A prediction 10 % off, either way, is still better than none.
    for percent in (90, 110):
        assert sum(trials_for(truth, percent) for truth in truths) < sum(blind)
    for truth in LOGS:
        assert trials_for(truth, 100) <= 4 < len(searched("bisect", 512, up_to(truth)).trials)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    strategy=st.sampled_from(sorted(STRATEGIES)),
    start=st.integers(-3, 3000),
    most=st.integers(1, 2000),
    whim=st.integers(0, 2**400),
)
def test_trials_that_contradict_each_other(strategy: str, start: int, most: int, whim: int) -> None:
    found = searched(strategy, start, script(lambda batch: bool(whim >> batch % 400 & 1)), most)
    assert len(found.trials) <= 30
    fitted = {trial.batch for trial in found.trials if trial.fits}
    assert found.largest is None or found.largest in fitted
    assert (found.largest is None) is (found.stopped is Stopped.NONE)
    failed = {trial.batch for trial in found.trials if not trial.fits}
    if found.stopped is Stopped.BRACKETED:
        assert found.largest is not None
        assert found.largest + 1 in failed
    elif found.stopped is Stopped.NONE:
        assert 1 in failed
    else:
        assert found.largest == most


def failing_at(third: BaseException) -> Callable[[int], Trial]:
    """Return a trial in which 64 fits, 96 does not, and any other batch raises `third`."""
    script = {64: True, 96: False}

    def try_batch(batch: int) -> Trial:
        if batch not in script:
            raise third
        return Trial(batch=batch, fits=script[batch])

    return try_batch


@pytest.mark.parametrize(
    ("third", "stopped"),
    [(KeyboardInterrupt(), Stopped.INTERRUPTED), (TrialTimeoutError("slow"), Stopped.TIMEOUT)],
)
def test_what_was_found_is_kept(third: BaseException, stopped: Stopped) -> None:
    found = searched("predict", 64, failing_at(third), 96)
    assert [trial.batch for trial in found.trials][:1] == [64]
    assert (found.largest, found.stopped, found.complete) == (64, stopped, False)
    assert ("slow" in found.why) is (stopped is Stopped.TIMEOUT)


def test_interrupted_before_anything_fitted() -> None:
    found = searched("bisect", 512, failing_at(KeyboardInterrupt()))
    assert (found.trials, found.largest, found.recommended) == ((), None, None)


def test_another_failure_ends_the_search_and_says_what_fitted() -> None:
    with pytest.raises(TrialError, match=r"^no such kernel; 64 fitted before$"):
        searched("predict", 64, failing_at(TrialError("no such kernel")))
    with pytest.raises(TrialError, match=r"^no such kernel$"):
        searched("bisect", 512, failing_at(TrialError("no such kernel")))


@pytest.mark.parametrize(
    # 95 % and rounded down: 0.95 × 87 = 82.65, 0.95 × 23 = 21.85.
    ("truth", "recommended"),
    [(0, None), (1, 1), (2, 1), (23, 21), (87, 82), (100, 95)],
)
def test_recommended(truth: int, recommended: int | None) -> None:
    assert searched("bisect", 512, up_to(truth)).recommended == recommended


def report(truth: int) -> TriedBatch:
    def try_batch(batch: int) -> Trial:
        if batch > 2 * truth:
            return Trial(batch=batch, fits=False, reason="DefaultCPUAllocator: " + "no " * 40)
        return Trial(batch=batch, fits=batch <= truth, peak_bytes=batch << 28, seconds=0.25)

    return TriedBatch(
        spec={"model": "mae", "mixer": "linear", "image_size": 256},
        workload={"dtype": "fp32", "autocast": False},
        device=Device(type="cpu", name="x86_64", memory_bytes=truth << 28),
        versions={"torch": "2.13.0"},
        convention="what fits",
        search=searched("bisect", 512, try_batch),
    )


def test_json_has_every_trial() -> None:
    document = json.loads(report(87).to_json())
    assert document["schema"] == "vitprof/2"
    assert document["command"] == "batch-size"
    assert (document["largest"], document["recommended"]) == (87, 82)
    assert "95 %" in document["margin"]
    assert document["stopped"] == "bracketed"
    assert [trial["batch"] for trial in document["trials"]][-2:] == [86, 87]
    assert document["trials"][-1] == {
        "batch": 87,
        "fits": True,
        "peak_bytes": 87 << 28,
        "seconds": 0.25,
        "reason": "",
    }
    assert document["trials"][0]["peak_bytes"] is None


def test_csv_has_a_line_a_trial() -> None:
    # From 512 by halves down to 2, then 3; a batch up to twice the truth has a peak of
    # 0.25 GiB an image.
    header, *lines = report(2).to_csv().splitlines()
    assert header == "batch,fits,peak_bytes,seconds,reason"
    assert [int(line.split(",")[0]) for line in lines] == [512, 256, 128, 64, 32, 16, 8, 4, 2, 3]
    assert lines[0] == "512,False,,,DefaultCPUAllocator: " + "no " * 40
    assert lines[-3:] == [
        "4,False,1073741824,0.25,",
        "2,True,536870912,0.25,",
        "3,False,805306368,0.25,",
    ]


def test_what_does_not_hold() -> None:
    assert (report(87).complaint, report(87).batch) == ("", 87)
    assert (report(0).complaint, report(0).batch) == (report(0).search.why, None)
    assert "not even 1 fits" in report(0).complaint


@pytest.mark.parametrize("width", [60, 80, 200])
def test_table_cuts_no_figure(width: int) -> None:
    text = StringIO()
    Console(file=text, width=width, color_system=None).print(report(87))
    words = text.getvalue().split()
    # 87 × 0.25 GiB; what was tried, in the order of the log.
    assert "21.75" in words
    assert "…" not in text.getvalue()
    figures = iter(words)
    assert all(said in figures for said in LOGS[87].replace(",", "").split())
    assert {"82", "95", "0.250"} <= {word.strip("(),") for word in words}


def test_table_of_none() -> None:
    text = StringIO()
    Console(file=text, width=80, color_system=None).print(report(0))
    assert "not even 1 fits" in text.getvalue()
    assert text.getvalue().count("none") == 2
