"""The largest batch that fits, by trial.

A trial says whether one batch fits. A strategy chooses the next batch to try: it keeps the
largest that fitted and the smallest that did not, and each batch it asks for lies strictly
between the two. So it ends whatever the trials say, also where what fits is not monotone,
and the largest batch it finds is one that was tried and fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from vitprof.errors import VitprofError

START, MAX_BATCH = 512, 65_536
MARGIN_PERCENT = 95
_FIRST_WIDTH = 64  # the first step from a prediction p is p / 64: at most 5 trials if it is right


class TrialError(VitprofError):
    """A trial that failed for another reason than memory, which ends the search."""


class TrialTimeoutError(VitprofError):
    """A trial that was stopped at its time limit, which ends the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Whether a batch fits.

    Attributes:
        batch: images at a time.
        fits: whether the steps ran through and their peak is within the budget.
        peak_bytes: the most memory held at once; None where memory ran out before the end.
        seconds: time of the last step; None likewise.
        reason: why it does not fit; empty where it does.
    """

    batch: int
    fits: bool
    peak_bytes: int | None = None
    seconds: float | None = None
    reason: str = ""

    @property
    def line(self) -> str:
        """The trial as a line of a log: `batch_size=512 => NG`."""
        return f"batch_size={self.batch} => {'OK' if self.fits else 'NG'}"


class Stopped(StrEnum):
    """Why a search ended."""

    BRACKETED = "bracketed"
    CAP = "cap"
    NONE = "none"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search found.

    Attributes:
        strategy: `bisect` or `predict`.
        start: the first batch.
        most: the cap on the batch.
        budget_bytes: the memory that a batch may take.
        trials: in the order in which they were made.
        stopped: why the search ended.
        detail: more about that, such as what was timed out; mostly empty.
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
        """The largest batch that was tried and fitted; None where none did."""
        return max((trial.batch for trial in self.trials if trial.fits), default=None)

    @property
    def recommended(self) -> int | None:
        """The largest batch less a margin: 95 % of it, rounded down, and 1 at least."""
        return None if self.largest is None else max(1, self.largest * MARGIN_PERCENT // 100)

    @property
    def complete(self) -> bool:
        """Whether the search came to its own end."""
        return self.stopped not in (Stopped.TIMEOUT, Stopped.INTERRUPTED)

    @property
    def why(self) -> str:
        """Why the search ended, in a sentence."""
        sentences = {
            Stopped.BRACKETED: f"{self.largest} fits and {(self.largest or 0) + 1} does not",
            Stopped.CAP: f"{self.most} fits, and no more than that was to be tried",
            Stopped.NONE: "not even 1 fits",
            Stopped.TIMEOUT: "a trial took too long",
            Stopped.INTERRUPTED: "interrupted; a larger batch may fit",
        }
        return sentences[self.stopped] + (f": {self.detail}" if self.detail else "")


TryBatch = Callable[[int], Trial]
Strategy = Generator[int, bool, None]  # yields a batch to try, is sent whether it fits


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
        try_batch: makes the trial of a batch.
        strategy: `bisect`, which halves or doubles from `start` until one fits and one
            does not, and bisects between them; or `predict`, which takes `start` for the
            likely answer and steps away from it by doubling widths before it bisects.
        start: the first batch to try; one above `most` is lowered to it.
        most: the cap on the batch.
        budget_bytes: the memory that a batch may take, for the record.
        tell: is told each trial as it ends.

    Returns:
        What was found; also where the search was interrupted (KeyboardInterrupt), or a
        trial timed out (TrialTimeoutError).

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
    """Try what the strategy asks for until it asks no more."""
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
    """Step away from the prediction by doubling widths until it is bracketed; then bisect."""
    widths = (max(1, prediction // _FIRST_WIDTH) << step for step in count())

    def beside(batch: int, fits: bool) -> int:
        return batch + next(widths) if fits else batch - next(widths)

    return _bracket(prediction, most, beside)


STRATEGIES: dict[str, Callable[[int, int], Strategy]] = {"bisect": bisect, "predict": predict}


def _bracket(start: int, most: int, move: Callable[[int, bool], int]) -> Strategy:
    """Move from `start` until the answer is between two trials; then bisect.

    `fits` and `fails` begin outside the range, where nothing is tried: 0 is taken to fit,
    and one more than `most` not to.
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
