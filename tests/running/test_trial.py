"""Trials: real ones on the CPU, in new processes and in this one, and scripted ones that fail.

Real trials run a tiny layer; in a new process most of their time is the import of torch.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import for_each

from vitprof.allocation.largest_batch import largest_batch, largest_batch_on_gpu
from vitprof.api.batch_size import batch_size
from vitprof.api.by_trial import search_by_trial
from vitprof.cli import run
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.formulas.layer import Measure
from vitprof.formulas.totals import totals
from vitprof.measuring import trials
from vitprof.measuring.search import Trial, TrialError, TrialTimeoutError
from vitprof.measuring.trials import FAILED, RAN, TOO_LARGE, Device, Trials, probe
from vitprof.report.batch_size import TriedBatch
from vitprof.request.specs import specify, subject
from vitprof.request.workload import Workload
from vitprof.running import trial as child

Capture = pytest.CaptureFixture[str]
Request = Mapping[str, Any]
MIB = 1024**2
LAYER = specify("layer", options={"tokens": 16, "dim": 32, "heads": 4})
WORDS = ("--model", "layer", "--tokens", "16", "--dim", "32", "--heads", "4")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on one thread: at small sizes more threads only wait."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def trials_of(limit_mib: int = 64, timeout: float = 120) -> Trials:
    return Trials(
        model=LAYER,
        workload=Workload(optimizer="adam", kernel="loop"),
        device="cpu",
        budget_bytes=limit_mib * MIB,
        limited=True,
        timeout=timeout,
    )


def scripted(code: str, limit_mib: int = 64, timeout: float = 60) -> Trials:
    """Return trials whose process runs this code instead."""
    return replace(trials_of(limit_mib, timeout), command=(sys.executable, "-c", code))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run trials by the function that their process calls, without another import of torch."""

    def run_here(
        command: tuple[str, ...], request: Request, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        held = held_before()
        answer = child.trial(json.loads(json.dumps(request)))
        assert isinstance(answer["peak_bytes"], int)
        answer["peak_bytes"] -= held
        return subprocess.CompletedProcess(command, RAN, json.dumps(answer), "")

    monkeypatch.setattr(trials, "_run", run_here)


# Real trials.


def test_a_process_of_its_own_measures_the_same(request: pytest.FixtureRequest) -> None:
    done = trials_of()(4)
    assert done.fits
    assert done.seconds is not None
    assert 0 < done.seconds < 60
    request.getfixturevalue("in_this_process")
    assert trials_of()(4).peak_bytes == done.peak_bytes


@pytest.mark.usefixtures("in_this_process")
def test_peak_is_measured_and_affine_in_the_batch() -> None:
    peaks = {batch: trials_of()(batch).peak_bytes or 0 for batch in (2, 4, 8)}
    assert peaks[8] - peaks[4] == 2 * (peaks[4] - peaks[2])
    # Saved of one image for the backward pass alone: the input and both residuals, two norms'
    # outputs, q, k and v, the weights, their sum, and the MLP's two.
    kept = 4 * 16 * (32 * (1 + 2 + 2 + 3 + 1 + 2 * 4) + 4 * 16)
    assert kept < (peaks[4] - peaks[2]) // 2 < 2 * kept
    # Besides, the weights and Adam's states from its first step on: three times the weights.
    weights = totals(LAYER.formula(), Measure.PARAMS)["all"]
    assert peaks[2] - (peaks[4] - peaks[2]) > 3 * 4 * weights


@pytest.mark.usefixtures("in_this_process")
def test_peak_decides_not_the_absence_of_an_exception() -> None:
    done = trials_of(limit_mib=2)(256)
    assert not done.fits
    assert done.peak_bytes is not None
    assert done.peak_bytes > 2 * MIB
    assert "above the budget" in done.reason


def test_out_of_memory() -> None:
    # Its input alone is 16 × 32 × 4 × 400,000 bytes, 781 MiB.
    done = trials_of(limit_mib=1)(400_000)
    assert (done.fits, done.peak_bytes, done.seconds) == (False, None, None)
    # Its first clause, without the source line of PyTorch's check before it or advice after it.
    says = (
        r"RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate \d+ bytes"
    )
    assert re.fullmatch(says, done.reason)


@pytest.mark.usefixtures("in_this_process")
def test_another_failure() -> None:
    """Train a batch norm on a single token, an error other than out of memory."""
    single = specify("layer", mixer="lambda", options={"tokens": 1, "dim": 32, "heads": 4})
    with pytest.raises(ValueError, match=r"^Expected more") as caught:
        replace(trials_of(), model=single)(1)
    assert not child.is_too_large(caught.value)


def test_no_process_is_left_by_a_parent_that_died() -> None:
    """Close the write end of the pipe while 10,000 blocks are built."""
    read, write = os.pipe()
    request = {
        "task": "trial",
        "device": "cpu",
        "limit_bytes": None,
        "spec": {"model": "mae", "mixer": "attn", "image_size": 8, "depth": 10_000},
        "workload": {},
        "lifeline": read,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "vitprof.running.trial"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(read,),
    ) as process:
        os.close(read)
        assert process.stdin is not None
        process.stdin.write(json.dumps(request).encode())
        process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        os.close(write)
        try:
            assert process.wait(timeout=30) == FAILED
        finally:
            process.kill()


@pytest.mark.usefixtures("in_this_process")
def test_command(capsys: Capture) -> None:
    words = ("batch-size", *WORDS, "--device=cpu", "--limit=320kB", "--start=4", "--max-batch=4")
    code = run([*words, "--format=json"])
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (code, err.splitlines()[0]) == (0, "batch_size=4 => NG")
    assert 1 <= document["largest"] < 4
    assert document["budget_bytes"] == 320_000
    assert err.splitlines()[-1] == f"=> batch_size = {document['largest']}"
    for tried in document["trials"]:
        assert f"batch_size={tried['batch']} => {'OK' if tried['fits'] else 'NG'}\n" in err
        assert (tried["peak_bytes"] <= 320_000) is tried["fits"]
        assert tried["seconds"] > 0


def test_ctrl_c_keeps_what_was_found() -> None:
    words = ("batch-size", *WORDS, "--device=cpu", "--limit=1GiB", "--start=1", "--format=json")
    with subprocess.Popen(
        [sys.executable, "-m", "vitprof", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "batch_size=1 => OK\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    document = json.loads(out)
    assert process.returncode == 130
    assert document["stopped"] == "interrupted"
    assert document["largest"] == document["trials"][-1]["batch"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_gpu() -> None:
    gpu = probe("cuda", timeout=120)
    assert gpu.memory_bytes > MIB
    on_gpu = replace(trials_of(limit_mib=256), device="cuda")
    fitting = on_gpu(4)
    assert fitting.fits
    assert 0 < (fitting.peak_bytes or 0) <= 256 * MIB
    assert not on_gpu(1_000_000).fits


# Scripted: processes that end in other ways.

ANSWER = f'print(\'{{"peak_bytes": {MIB}, "seconds": 0.5}}\')'


def test_answer_is_the_last_line() -> None:
    done = scripted(f"print('a library says hello'); {ANSWER}")(7)
    assert done == Trial(batch=7, fits=True, peak_bytes=MIB, seconds=0.5)


@pytest.mark.parametrize(("limit_mib", "fits"), [(1, True), (0, False)])
def test_budget_itself_fits(limit_mib: int, fits: bool) -> None:
    assert scripted(ANSWER, limit_mib)(7).fits is fits


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", "killed, as when memory runs out"),
        (
            "import os, sys; print('what(): std::bad_alloc', file=sys.stderr); os.abort()",
            "std::bad_alloc",
        ),
        (
            'print(\'{"error": "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a"}\'); '
            f"exit({TOO_LARGE})",
            "CUDA out of memory",
        ),
    ],
)
def test_ways_of_running_out_of_memory(code: str, reason: str) -> None:
    done = scripted(f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); {code}")(7)
    assert (done.fits, done.peak_bytes, done.reason) == (False, None, reason)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "ended by SIGTERM$"),
        ("import os; os.abort()", "ended by SIGABRT$"),
        ("import torch_is_not_there", "ModuleNotFoundError: No module named"),
        ("exit(5)", "exit code 5$"),
        (f'print(\'{{"error": "no such\\\\nkernel"}}\'); exit({FAILED})', "no such kernel$"),
        ("raise ValueError('x' * 5000)", r"xxx \.\.\.$"),
        # Of the real-time signals only the first and the last have a name in Python.
        ("import os; os.kill(os.getpid(), 40)", "ended by signal 40$"),
        ("import os; os._exit(0)", "exit code 0 and without a whole answer$"),
    ],
)
def test_ways_of_failing(code: str, sentence: str) -> None:
    quiet = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    with pytest.raises(TrialError, match=f"^the trial of batch 7 failed: .*{sentence}") as caught:
        scripted(quiet + code)(7)
    assert len(str(caught.value)) < 400


NO_ANSWER = "exit code 0 and without a whole answer"


@for_each(
    "code, stdout, stderr, sentence",
    [
        (0, "", "", NO_ANSWER),
        (0, "", "first\nwhy\n", f"{NO_ANSWER}; its last line is why"),
        (3, "", "", "exit code 3 and without a whole answer"),
        (3, '{"peak_bytes": 1, "seconds": 1}', "", "exit code 3 and without a whole answer"),
        (0, '{"peak_bytes": 1, "seco', "", NO_ANSWER),
        (0, '{"peak_bytes": 1}', "", NO_ANSWER),
        (0, '{"seconds": 1}', "", NO_ANSWER),
        (0, '{"peak_bytes": 1.5, "seconds": 1}', "", NO_ANSWER),
        (0, '{"peak_bytes": true, "seconds": 1}', "", NO_ANSWER),
        (0, '{"peak_bytes": -1, "seconds": 1}', "", NO_ANSWER),
        (0, '{"peak_bytes": 1, "seconds": NaN}', "", NO_ANSWER),
        (0, '{"peak_bytes": 1, "seconds": "1"}', "", NO_ANSWER),
        (0, "[" * 100_000, "", NO_ANSWER),
        (0, "[]", "", NO_ANSWER),
        (0, '{"peak_bytes": 1, "seconds": 1}\nbye', "", NO_ANSWER),
        (4, '{"error": 7}', "", "failed: 7"),
        (-11, "", "", "ended by SIGSEGV"),
        (-34, "", "", "ended by SIGRTMIN"),
        (-63, "", "", "ended by signal 63"),
        (-64, "", "", "ended by SIGRTMAX"),
    ],
)
def test_ends_without_an_answer(code: int, stdout: str, stderr: str, sentence: str) -> None:
    ended = subprocess.CompletedProcess((), code, stdout, stderr)
    with pytest.raises(
        TrialError,
        match=f"^the trial of batch 7 failed: .*{sentence}$|^the trial of batch 7 {sentence}$",
    ):
        trials_of()._judge(7, ended)


def test_every_signal() -> None:
    for number in range(1, 65):
        ended = subprocess.CompletedProcess((), -number, "", "")
        if number == signal.SIGKILL:
            assert not trials_of()._judge(7, ended).fits
            continue
        with pytest.raises(TrialError, match="was ended by "):
            trials_of()._judge(7, ended)


CHATTY = """
import atexit, sys
from torch import nn

print("at import")
atexit.register(print, "at exit")


class Chatty(nn.Linear):
    def forward(self, x):
        print("in a call")
        if x.shape[0] == 3 and x.device.type == "cpu" and x.data_ptr():
            sys.exit(3)
        return super().forward(x)


def make():
    return Chatty(5, 2)
"""


def test_code_that_prints_and_code_that_leaves(tmp_path: Path) -> None:
    file = tmp_path / "chatty.py"
    file.write_text(CHATTY)
    model, _ = subject(options={"module": f"{file}:make", "input": "5"})
    with pytest.raises(TrialError, match=r"^the trial of batch 3 failed: SystemExit: 3$"):
        replace(trials_of(), model=model)(3)


@pytest.mark.parametrize("answer", ["", "{}", '{"name": 3, "memory_bytes": 1}', '{"name": "x"}'])
def test_a_device_without_a_whole_answer(answer: str) -> None:
    command = (sys.executable, "-c", f"print({answer!r})")
    with pytest.raises(TrialError, match=r"^the device cuda cannot be queried: it ended with exit"):
        probe("cuda", timeout=60, command=command)


def test_process_that_cannot_be_started() -> None:
    with pytest.raises(TrialError, match=r"cannot be started: no such file or directory$"):
        probe("cuda", timeout=60, command=("/no/such/python",))


def test_time_limit() -> None:
    with pytest.raises(TrialTimeoutError, match=r"^batch 7 was stopped after 0\.2 s"):
        scripted("import time; time.sleep(60)", timeout=0.2)(7)
    with pytest.raises(TrialError, match=r"did not answer in 0\.2 s"):
        probe("cuda", timeout=0.2, command=(sys.executable, "-c", "import time; time.sleep(60)"))


def test_process_finds_what_this_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check `sys.path` of the process: the same, without the working directory's `json.py`."""
    monkeypatch.syspath_prepend("/of/a/plugin")
    code = "import json, sys; print(json.dumps({'error': str(sys.path)})); exit(4)"
    with pytest.raises(TrialError, match="/of/a/plugin"):
        scripted(code)(7)
    assert "-P" in trials_of().command


def test_ctrl_c_in_a_terminal_reaches_this_process_alone() -> None:
    code = 'import os; print(f\'{{"error": "{os.getsid(0) == os.getpid()}"}}\'); exit(4)'
    with pytest.raises(TrialError, match=r"failed: True$"):
        scripted(code)(7)


# Functions of the child process, run in this process.


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: invalid configuration argument\nCUDA kernel errors might be"),
    ],
)
def test_out_of_memory_is_told_from_its_words(error: Exception) -> None:
    assert child.is_too_large(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("CUDA error: out of memory"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED"),
        RuntimeError("the size of tensor a must match"),
    ],
)
def test_other_errors(error: Exception) -> None:
    assert not child.is_too_large(error)


def held_before() -> int:
    """Return the bytes that earlier tests in this process still hold."""
    return child._on_cpu(lambda: float(torch.empty(64, dtype=torch.uint8).numel()), None)[0] - 64


def test_peak_is_the_most_held_at_once() -> None:
    def steps() -> float:
        held = torch.empty(3 * MIB, dtype=torch.uint8)
        torch.empty(5 * MIB, dtype=torch.uint8)
        held = torch.empty(MIB, dtype=torch.uint8)
        assert held.numel() == MIB
        return 0.25

    # 3 and 5; while the third is made, the first is still held, 3 and 1.
    assert child._on_cpu(steps, None) == (held_before() + 8 * MIB, 0.25)


def test_limit_holds_while_it_is_set() -> None:
    def steps() -> float:
        torch.empty(child._BESIDE_BYTES + 64 * MIB, dtype=torch.uint8)
        return 0

    expected = held_before() + child._BESIDE_BYTES + 64 * MIB
    assert child._on_cpu(steps, 65 * MIB)[0] == expected
    with pytest.raises(RuntimeError) as caught:
        child._on_cpu(steps, MIB)
    assert child.is_too_large(caught.value)
    steps()


# The command, with processes that print scripted answers.


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Request]]:
    """Answer every trial by a function of its batch; return the list of requests."""

    def answer_by(
        by: Callable[[int], tuple[int, dict[str, object]]], name: str = "a GPU"
    ) -> list[Request]:
        requests: list[Request] = []

        def fake_run(
            command: tuple[str, ...], request: Request, timeout: float
        ) -> subprocess.CompletedProcess[str]:
            requests.append(request)
            if request["task"] == "probe":
                code, answer = RAN, {"name": name, "memory_bytes": 100 * MIB}
            else:
                code, answer = by(request["workload"]["batch"])
            return subprocess.CompletedProcess(command, code, json.dumps(answer), "")

        monkeypatch.setattr(trials, "_run", fake_run)
        return requests

    return answer_by


def a_mib_each(batch: int) -> tuple[int, dict[str, object]]:
    if batch > 200:
        return TOO_LARGE, {"error": "CUDA out of memory"}
    return RAN, {"peak_bytes": batch * MIB, "seconds": 0.1}


def test_options_reach_the_trial(answers: Callable[..., list[Request]], capsys: Capture) -> None:
    requests = answers(a_mib_each)
    step = "--dtype=bf16 --autocast --optimizer=sgd --kernel=loop --checkpoint --mask-ratio=0.3"
    cuda = ["--device=cuda", "--strategy=bisect", "--limit=23MiB"]
    words = ["batch-size", "--mixer=lambda", *cuda, *step.split()]
    assert run(words) == 0
    out, err = capsys.readouterr()
    assert err.endswith("batch_size=23 => OK\n\n=> batch_size = 23\n")
    assert "23 fits and 24 does not" in out
    assert requests[0] == {"task": "probe", "device": "cuda"}
    assert requests[-1]["limit_bytes"] == 23 * MIB
    assert requests[-1]["spec"]["mixer"] == "lambda"
    assert requests[-1]["spec"]["mask_ratio"] == 0.3
    assert requests[-1]["workload"] == {
        "device": "cuda",
        "batch": 23,
        "dtype": "bf16",
        "autocast": True,
        "optimizer": "sgd",
        "kernel": "loop",
        "checkpoint": True,
        "accumulate": 1,
        "keep_gradients": False,
        "clip": False,
        "ddp": "none",
        "inference": False,
    }


def test_gpu_without_a_limit(answers: Callable[..., list[Request]], capsys: Capture) -> None:
    requests = answers(a_mib_each)
    assert run(["batch-size", "--device=cuda", "--strategy=bisect", "--format=json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert requests[-1]["limit_bytes"] is None
    assert (document["largest"], document["budget_bytes"]) == (100, 100 * MIB)
    assert document["device"]["name"] == "a GPU"
    assert "batch" not in document["workload"]


def test_search_as_csv_in_a_file(
    answers: Callable[..., list[Request]], capsys: Capture, tmp_path: Path
) -> None:
    """Check that the log is on stderr, and that stdout stays empty."""
    answers(a_mib_each)
    file = tmp_path / "trials.csv"
    where = ["--device=cuda", "--strategy=bisect", "--start=64", "--limit=65MiB"]
    assert run(["batch-size", *where, "--output", str(file)]) == 0
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("", "=> batch_size = 65")
    batches = [int(line.split()[0].removeprefix("batch_size=")) for line in err.splitlines()[:-2]]
    assert {64, 65, 66} <= {*batches}
    assert file.read_text(encoding="utf-8").splitlines() == [
        "batch,fits,peak_bytes,seconds,reason",
        *(
            f"{batch},True,{batch * MIB},0.1,"
            if batch <= 65
            else f"{batch},False,{batch * MIB},0.1,its peak is {batch - 65}.0 MiB above the budget"
            for batch in batches
        ),
    ]


def test_prediction_is_asked_for_the_device_and_the_budget(
    answers: Callable[..., list[Request]],
) -> None:
    answers(a_mib_each)
    told: list[Trial] = []
    asked: list[tuple[Device, int]] = []

    def predicted(device: Device, budget: int) -> int:
        asked.append((device, budget))
        return budget // MIB

    found = search_by_trial(
        LAYER,
        Workload(),
        device="cuda",
        predicted=predicted,
        say=lambda message: None,
        tell=told.append,
    )
    assert asked == [(Device(type="cuda", name="a GPU", memory_bytes=100 * MIB), 100 * MIB)]
    assert [trial.batch for trial in told] == [100, 101]
    assert (found.batch, found.search.strategy) == (100, "predict")


@pytest.mark.parametrize(("name", "first"), [("a GPU", "tensors"), ("Tesla T4", "reserved")])
def test_trials_begin_where_the_gpu_is_full(
    answers: Callable[..., list[Request]], name: str, first: str
) -> None:
    """Start from all that PyTorch reserves on a GPU of the table, and from tensors on another.

    Without a limit, the budget is 100 MiB of free memory, the CUDA context not in it.
    """
    requests = answers(a_mib_each, name)
    found = batch_size("layer", device="cuda", tokens=16, dim=32, heads=4, max_batch=10**6)
    assert isinstance(found, TriedBatch)
    assert found.device.name == name
    t4 = Platform(gpu=find_gpu("t4"))
    expected = {
        "tensors": largest_batch(LAYER, Workload(), 100 * MIB),
        "reserved": largest_batch_on_gpu(LAYER, Workload(), t4, capacity=100 * MIB),
    }
    assert expected["reserved"] < expected["tensors"]
    assert requests[1]["workload"]["batch"] == expected[first]


@pytest.mark.parametrize(
    ("words", "by", "code", "said"),
    [
        ("--start=1", lambda batch: (TOO_LARGE, {"error": "CUDA out of memory"}), 1, "none"),
        ("--max-batch=9", a_mib_each, 0, "it is the largest batch allowed"),
    ],
)
def test_ends_of_a_search(
    answers: Callable[..., list[Request]],
    capsys: Capture,
    words: str,
    by: Callable[[int], tuple[int, dict[str, object]]],
    code: int,
    said: str,
) -> None:
    answers(by)
    assert run(["batch-size", "--device=cuda", "--strategy=bisect", words]) == code
    assert said in capsys.readouterr().out


def test_timeout_of_the_command(answers: Callable[..., list[Request]], capsys: Capture) -> None:
    def slow_from_8(batch: int) -> tuple[int, dict[str, object]]:
        if batch >= 8:
            raise subprocess.TimeoutExpired("a trial", 3)
        return a_mib_each(batch)

    answers(slow_from_8)
    where = ["--device=cpu", "--limit=1GiB", "--strategy=bisect"]
    words = ["batch-size", *where, "--timeout=3", "--start=4"]
    assert run([*words, "--format=json"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["largest"], document["stopped"]) == (4, "timeout")
    assert "batch 8 was stopped after 3 s" in document["why"]
    assert err.splitlines()[-1] == f"vitprof: {document['why']}"


def test_failure_of_the_command(answers: Callable[..., list[Request]], capsys: Capture) -> None:
    answers(lambda batch: (FAILED, {"error": "no such kernel"}) if batch > 4 else a_mib_each(batch))
    assert run(["batch-size", "--device=cuda", "--strategy=bisect", "--start=4"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(
        "vitprof: the trial of batch 8 failed: no such kernel; 4"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "no device and no memory budget is given; give --device cuda, or"),
        ("--device tpu", "no device 'tpu'.*cpu and cuda"),
        ("--device cpu", "the device cpu needs a memory limit; give --limit"),
        ("--device cpu --limit 24G", "limit '24G' is not a memory size"),
        (
            "--device cpu --limit 24",
            "limit '24' is 24 bytes without a unit; give one, such as 24GiB",
        ),
        ("--gpu h100 --device cuda", "leave out --device"),
        ("--gpu h100 --start 3", "leave out --device, --limit, --strategy and --start"),
        ("--device cpu --limit 0", "limit '0' is less than one byte"),
        ("--device cuda --limit 101MiB", r"limit 101\.0 MiB is above the 100\.0 MiB .* a GPU"),
        ("--device cpu --limit 1GiB --strategy guess", "no strategy 'guess'.*bisect and predict"),
        ("--memory 1GiB --gpu t4", "memory and gpu both name the memory; give one"),
        ("--memory 1GiB --device cpu", "leave out --device"),
        ("--gpu rtx3091", "no GPU 'rtx3091'; did you mean rtx3090"),
        ("--device cpu --limit 1GiB --start 0", "start 0 is out of range"),
        ("--device cpu --limit 1GiB --max-batch x", "max batch x is not a whole number"),
        ("--device cpu --limit 1GiB --timeout 0", "timeout 0 is out of range"),
        ("--device cpu --limit 1GiB --format jsn", "no format 'jsn'; did you mean json"),
        ("--device cpu --limit 1GiB --format junit", "no format 'junit'"),
        ("--device cpu --limit 1GiB --format parquet", "give --output FILE.parquet"),
        ("--device cpu --limit 1GiB --optimizer lion", "optimizer can be sgd.*not 'lion'"),
        ("--device cpu --limit 1GiB --autocast", "autocast has no effect with dtype fp32"),
        ("--device cpu --limit 1GiB --batch 3", "--batch"),
    ],
)
def test_refused(
    answers: Callable[..., list[Request]], capsys: Capture, words: str, sentence: str
) -> None:
    requests = answers(a_mib_each)
    code = run(["batch-size", *words.split()])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert [request for request in requests if request["task"] == "trial"] == []
    assert err.startswith("vitprof: ")
    assert re.search(sentence, err), err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_gpu(capsys: Capture) -> None:
    assert run(["batch-size", "--device=cuda", "--strategy=bisect", "--limit=24GiB"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vitprof: PyTorch finds no usable CUDA device here; give --device cpu")
