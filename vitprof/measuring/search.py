"""The largest batch that fits, by trial.

A trial runs one batch to see if it fits. A strategy chooses the next batch to try: it keeps the
largest that fitted and the smallest that did not, and each batch that it asks for is strictly
between the two. So the search always ends, even if a larger batch fits where a smaller one did
not, and its result is a batch that was tried and fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from vitprof.errors import VitprofError

START, MAX_BATCH = 512, 65_536
MARGIN_PERCENT = 95
_FIRST_WIDTH = 64  # first step from a prediction p is p / 64: at most 5 trials if p is right


class TrialError(VitprofError):
    """A trial failed for another reason than memory, which ends the search."""


class TrialTimeoutError(VitprofError):
    """A trial was stopped at its time limit, which ends the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Outcome of running a batch.

    Attributes:
        batch: images at a time.
        fits: True if all steps ran and their peak memory is within the budget.
        peak_bytes: peak memory in bytes; None if memory ran out.
        seconds: time of the last step; None if memory ran out.
        reason: reason why the batch does not fit; empty if it fits.
    """

    batch: int
    fits: bool
    peak_bytes: int | None = None
    seconds: float | None = None
    reason: str = ""

    @property
    def line(self) -> str:
        """The trial as a line of the log: `batch_size=512 => NG`."""
        return f"batch_size={self.batch} => {'OK' if self.fits else 'NG'}"


class Stopped(StrEnum):
    """Reason for the end of a search."""

    BRACKETED = "bracketed"
    CAP = "cap"
    NONE = "none"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Result of a search.

    Attributes:
        strategy: `bisect` or `predict`.
        start: the first batch that was tried.
        most: the largest batch that may be tried.
        budget_bytes: memory that a batch may take, in bytes.
        trials: the trials, in the order in which they were run.
        stopped: reason for the end of the search.
        detail: sentence on the trial that timed out; empty otherwise.
    """

    strategy: str
    start: int
    most: int
    budget_bytes: int
    trials: tuple[Trial, ...]
    stopped: Stopped
    detail: str = ""

    @property
    def largest(self) -> int | None:
        """The largest batch that was tried and fitted; None if none fitted."""
        return max((trial.batch for trial in self.trials if trial.fits), default=None)

    @property
    def recommended(self) -> int | None:
        """95 % of the largest batch, rounded down, at least 1; None if no batch fitted."""
        return None if self.largest is None else max(1, self.largest * MARGIN_PERCENT // 100)

    @property
    def complete(self) -> bool:
        """True if the search ended by itself, not by a timeout or an interrupt."""
        return self.stopped not in (Stopped.TIMEOUT, Stopped.INTERRUPTED)

    @property
    def why(self) -> str:
        """Sentence on why the search ended."""
        sentences = {
            Stopped.BRACKETED: f"{self.largest} fits and {(self.largest or 0) + 1} does not",
            Stopped.CAP: f"{self.most} fits, and it is the largest batch allowed",
            Stopped.NONE: "not even 1 fits",
            Stopped.TIMEOUT: "a trial took too long",
            Stopped.INTERRUPTED: "interrupted; a larger batch may fit",
        }
        return sentences[self.stopped] + (f": {self.detail}" if self.detail else "")


TryBatch = Callable[[int], Trial]
Strategy = Generator[int, bool, None]  # yields a batch to try, is sent True if it fits


def search(
    try_batch: TryBatch,
    *,
    strategy: str,
    start: int,
    most: int = MAX_BATCH,
    budget_bytes: int,
    tell: Callable[[Trial], None],
) -> Search:
    """Search for the largest batch that fits.

    Args:
        try_batch: runs the trial of a batch.
        strategy: `bisect`, which halves or doubles from `start` until one batch fits and one
            does not, and bisects between them; or `predict`, which takes `start` as the
            likely answer and moves away from it in steps that double before it bisects.
        start: the first batch to try; reduced to `most` if it is larger.
        most: the largest batch that may be tried.
        budget_bytes: memory that a batch may take, in bytes; recorded in the result.
        tell: called with each trial when it ends.

    Returns:
        The result; also if the search was interrupted (KeyboardInterrupt), or if a trial
        timed out (TrialTimeoutError).

    Raises:
        TrialError: a trial failed for another reason than memory.
    """
    trials: list[Trial] = []
    first = max(1, min(start, most))
    detail = ""
    try:
        _follow(STRATEGIES[strategy](first, most), try_batch, trials, tell)
        stopped = _ending(trials, most)
    except KeyboardInterrupt:
        stopped = Stopped.INTERRUPTED
    except TrialTimeoutError as error:
        stopped, detail = Stopped.TIMEOUT, str(error)
    except TrialError as error:
        fitted = [trial.batch for trial in trials if trial.fits]
        until_then = f"; {max(fitted)} fitted before" if fitted else ""
        raise TrialError(f"{error}{until_then}") from error
    return Search(
        strategy=strategy,
        start=first,
        most=most,
        budget_bytes=budget_bytes,
        trials=tuple(trials),
        stopped=stopped,
        detail=detail,
    )


def _follow(
    strategy: Strategy, try_batch: TryBatch, trials: list[Trial], tell: Callable[[Trial], None]
) -> None:
    """Run the trials that the strategy asks for until it ends."""
    batch = next(strategy)
    while True:
        trial = try_batch(batch)
        trials.append(trial)
        tell(trial)
        try:
            batch = strategy.send(trial.fits)
        except StopIteration:
            return


def _ending(trials: list[Trial], most: int) -> Stopped:
    fitted = [trial.batch for trial in trials if trial.fits]
    if not fitted:
        return Stopped.NONE
    return Stopped.CAP if max(fitted) == most else Stopped.BRACKETED


def bisect(start: int, most: int) -> Strategy:
    """Halve until a batch fits, or double until one does not; then bisect."""
    return _bracket(start, most, lambda batch, fits: batch * 2 if fits else batch // 2)


def predict(prediction: int, most: int) -> Strategy:
    """Move from the prediction in steps that double until it is bracketed; then bisect."""
    widths = (max(1, prediction // _FIRST_WIDTH) << step for step in count())

    def beside(batch: int, fits: bool) -> int:
        return batch + next(widths) if fits else batch - next(widths)

    return _bracket(prediction, most, beside)


STRATEGIES: dict[str, Callable[[int, int], Strategy]] = {"bisect": bisect, "predict": predict}


def _bracket(start: int, most: int, move: Callable[[int, bool], int]) -> Strategy:
    """Move from `start` until the answer is between two trials; then bisect.

    `fits` and `fails` begin outside the range, without a trial: 0 is assumed to fit, and
    `most + 1` not to fit.
    """
    fits, fails, batch = 0, most + 1, start
    while fails - fits > 1:
        if (yield batch):
            fits = batch
        else:
            fails = batch
        if fits and fails <= most:
            batch = (fits + fails) // 2
        else:
            batch = min(max(move(batch, bool(fits)), 1), most)
