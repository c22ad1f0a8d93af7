"""Trials of a batch, each in a new process, so that a crash frees all memory.

The process is `python -m vitprof.running.trial`. It reads a request as JSON from stdin, writes
an answer as JSON in the last line of stdout, and ends with one of the exit codes below. It runs
code of others, so that it may end in any way: an answer counts only if it is whole.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from vitprof.measuring.search import Trial, TrialError, TrialTimeoutError
from vitprof.values.amounts import Bytes
from vitprof.values.options import plain

if TYPE_CHECKING:
    from vitprof.request.workload import Workload
    from vitprof.subject import Configurable

RAN, TOO_LARGE, FAILED = 0, 3, 4  # exit codes of a trial's process
_COMMAND = (sys.executable, "-P", "-m", "vitprof.running.trial")
_MAX_CHARACTERS = 300  # of a message
_ASSERTION = re.compile(r"\[enforce fail [^]]*\] (err == 0\. )?")  # stands before the sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device to run trials on.

    Attributes:
        type: `cpu` or `cuda`.
        name: product name; empty if it is not known.
        memory_bytes: free memory in bytes; 0 if there is no such device.
    """

    type: str
    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Callable that runs the trial of a batch: real steps of a model, in a new process.

    Attributes:
        model: the model.
        workload: how it is trained or run; its batch is replaced by the one to try.
        device: `cpu` or `cuda`.
        budget_bytes: memory that a batch may take, in bytes.
        limited: True if the process is limited to about the budget, since the device has more.
        timeout: seconds after which a trial is stopped.
        command: command of the process; tests replace it.
    """

    model: Configurable
    workload: Workload
    device: str
    budget_bytes: int
    limited: bool
    timeout: float
    command: tuple[str, ...] = _COMMAND

    def __call__(self, batch: int) -> Trial:
        """Run the trial of a batch.

        Raises:
            TrialError: it failed for another reason than memory.
            TrialTimeoutError: it took longer than `timeout`.
        """
        values = {**self.workload.values(), "batch": batch}
        request = {
            "task": "trial",
            "device": self.device,
            "limit_bytes": self.budget_bytes if self.limited else None,
            "spec": self.model.words(),
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
        peak, seconds = _number(answer, "peak_bytes"), _number(answer, "seconds")
        if ended.returncode == RAN and isinstance(peak, int) and seconds is not None:
            above = peak - self.budget_bytes
            return Trial(
                batch=batch,
                fits=above <= 0,
                peak_bytes=peak,
                seconds=float(seconds),
                reason=f"its peak is {Bytes(above)} above the budget" if above > 0 else "",
            )
        if ended.returncode == TOO_LARGE and "error" in answer:
            first, _, _ = _ASSERTION.sub("", str(answer["error"])).partition(". ")
            return Trial(batch=batch, fits=False, reason=_short(first))
        if ended.returncode == -signal.SIGKILL:
            return Trial(batch=batch, fits=False, reason="killed, as when memory runs out")
        if ended.returncode == -signal.SIGABRT and "std::bad_alloc" in ended.stderr:
            return Trial(batch=batch, fits=False, reason="std::bad_alloc")
        raise TrialError(f"the trial of batch {batch} failed: {_failure(ended, answer)}")


def probe(device: str, *, timeout: float, command: tuple[str, ...] = _COMMAND) -> Device:
    """Return the device's name and free memory, read in a new process.

    The query itself takes memory on a GPU, which the process frees when it ends.

    Raises:
        TrialError: the device does not answer, or the query fails.
    """
    try:
        ended = _run(command, {"task": "probe", "device": device}, timeout)
    except subprocess.TimeoutExpired:
        raise TrialError(f"the device {device} did not answer in {timeout:g} s") from None
    answer = _answer(ended)
    name, memory = answer.get("name"), _number(answer, "memory_bytes")
    if ended.returncode == RAN and isinstance(name, str) and isinstance(memory, int):
        return Device(type=device, name=name, memory_bytes=memory)
    raise TrialError(f"the device {device} cannot be queried: {_failure(ended, answer)}")


def _run(
    command: tuple[str, ...], request: Mapping[str, object], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a trial's process; it is killed on a timeout, an interrupt, or if this process dies.

    It has a separate session, so that Ctrl-C in the terminal reaches only this process, and the
    read end of a pipe, whose write end closes when this process ends for any reason.

    Raises:
        TrialError: it cannot be started.
        subprocess.TimeoutExpired: it took longer than `timeout`.
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
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise TrialError(f"the process of a trial cannot be started: {why}") from error
    finally:
        os.close(ours)
        os.close(theirs)


def _answer(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the answer of a process; empty if it died before it wrote a whole one."""
    try:
        answer = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _number(answer: Mapping[str, Any], name: str) -> int | float | None:
    """Return a number of an answer; None if it has none that is finite and not negative."""
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < inf else None


def _failure(ended: subprocess.CompletedProcess[str], answer: Mapping[str, Any]) -> str:
    """Return why a process failed: its error, its signal, its last line or its exit code."""
    if "error" in answer:
        return _short(str(answer["error"]))
    if ended.returncode < 0:
        return f"it was ended by {_signal(-ended.returncode)}"
    said = _short(ended.stderr.strip().rpartition("\n")[2])
    if ended.returncode in (RAN, TOO_LARGE):  # code of the model ended the process
        last = f"; its last line is {said}" if said else ""
        return f"it ended with exit code {ended.returncode} and without a whole answer{last}"
    return said or f"exit code {ended.returncode}"


def _signal(number: int) -> str:
    """Return the name of a signal, or its number: most real-time signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _short(message: str) -> str:
    """Return a message as one line, cut to `_MAX_CHARACTERS` characters."""
    line = " ".join(message.split())
    return line if len(line) <= _MAX_CHARACTERS else f"{line[:_MAX_CHARACTERS]} ..."
