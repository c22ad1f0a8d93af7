"""Trials of a batch, each in a process of its own, so that one that dies leaves nothing behind.

The process is `python -m vitprof.running.trial`: a request as JSON on stdin, an answer as
JSON in the last line of stdout, and one of the exit codes below.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitprof.measuring.search import Trial, TrialError, TrialTimeoutError
from vitprof.values.amounts import Bytes
from vitprof.values.options import plain

if TYPE_CHECKING:
    from vitprof.formulas.model import Model
    from vitprof.request.workload import Workload

RAN, OUT_OF_MEMORY, FAILED = 0, 3, 4  # exit codes of a trial's process
_COMMAND = (sys.executable, "-P", "-m", "vitprof.running.trial")
_MOST_WORDS = 300  # of a message, in characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device to make trials on.

    Attributes:
        type: `cpu` or `cuda`.
        name: what it calls itself; empty where that is not known.
        memory_bytes: its memory that is free; 0 where there is no such device.
    """

    type: str
    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Makes the trial of any batch: real steps of a model, in a new process.

    Attributes:
        model: what is trained or run.
        workload: how; its batch is replaced by the one to try.
        device: `cpu` or `cuda`.
        budget_bytes: the memory that a batch may take.
        limited: whether the device has more than that and is to be kept from giving it.
        timeout: seconds after which a trial is stopped.
        command: the process, for tests.
    """

    model: Model
    workload: Workload
    device: str
    budget_bytes: int
    limited: bool
    timeout: float
    command: tuple[str, ...] = _COMMAND

    def __call__(self, batch: int) -> Trial:
        """Try a batch.

        Raises:
            TrialError: it failed, and not for want of memory.
            TrialTimeoutError: it took longer than the time limit.
        """
        values = {**self.workload.values(), "batch": batch}
        request = {
            "task": "trial",
            "device": self.device,
            "limit_bytes": self.budget_bytes if self.limited else None,
            "spec": {name: plain(value) for name, value in self.model.conditions().items()},
            "workload": {name: plain(value) for name, value in values.items()},
        }
        try:
            ended = _run(self.command, request, self.timeout)
        except subprocess.TimeoutExpired:
            raise TrialTimeoutError(
                f"batch {batch} was stopped after {self.timeout:g} s, its time limit"
            ) from None
        return self._judge(batch, ended)

    def _judge(self, batch: int, ended: subprocess.CompletedProcess[str]) -> Trial:
        answer = _answer(ended)
        if ended.returncode == RAN:
            peak = int(answer["peak_bytes"])
            above = peak - self.budget_bytes
            return Trial(
                batch=batch,
                fits=above <= 0,
                peak_bytes=peak,
                seconds=float(answer["seconds"]),
                reason=f"its peak is {Bytes(above)} above the budget" if above > 0 else "",
            )
        if ended.returncode == OUT_OF_MEMORY:
            return Trial(batch=batch, fits=False, reason=_short(answer["error"]))
        if ended.returncode == -signal.SIGKILL:
            return Trial(batch=batch, fits=False, reason="killed, as where memory runs out")
        if ended.returncode == -signal.SIGABRT and "std::bad_alloc" in ended.stderr:
            return Trial(batch=batch, fits=False, reason="std::bad_alloc")
        raise TrialError(f"the trial of batch {batch} failed: {_failure(ended, answer)}")


def probe(device: str, *, timeout: float, command: tuple[str, ...] = _COMMAND) -> Device:
    """Ask what device there is, in a process of its own: asking takes memory of the GPU.

    Raises:
        TrialError: it cannot be asked.
    """
    try:
        ended = _run(command, {"task": "probe", "device": device}, timeout)
    except subprocess.TimeoutExpired:
        raise TrialError(f"the device {device} did not answer in {timeout:g} s") from None
    answer = _answer(ended)
    if ended.returncode != RAN:
        raise TrialError(f"the device {device} cannot be asked: {_failure(ended, answer)}")
    return Device(type=device, name=answer["name"], memory_bytes=answer["memory_bytes"])


def _run(
    command: tuple[str, ...], request: Mapping[str, object], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a trial's process; it is killed on a timeout, an interrupt, or where this one dies.

    It has a session of its own, so that Ctrl-C in the terminal reaches this process alone,
    and one end of a pipe, whose other end closes when this process ends in any way.
    """
    ours, theirs = os.pipe()[::-1]
    try:
        return subprocess.run(
            command,
            input=json.dumps({**request, "lifeline": theirs}),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            start_new_session=True,
            pass_fds=(theirs,),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    finally:
        os.close(ours)
        os.close(theirs)


def _answer(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The process's answer; empty where it died before it could give one."""
    try:
        answer = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _failure(ended: subprocess.CompletedProcess[str], answer: Mapping[str, Any]) -> str:
    """Why a process failed: its own words, else its last, else how it ended."""
    if "error" in answer:
        return _short(answer["error"])
    if ended.returncode < 0:
        return f"it was ended by {signal.Signals(-ended.returncode).name}"
    return _short(ended.stderr.strip().rpartition("\n")[2]) or f"exit code {ended.returncode}"


def _short(message: str) -> str:
    """A message in one line that can be read."""
    line = " ".join(message.split())
    return line if len(line) <= _MOST_WORDS else f"{line[:_MOST_WORDS]} ..."
