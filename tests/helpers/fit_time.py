"""Fit the shares and the times of the host to the steps that were measured on an H100.

    python tests/helpers/fit_time.py

Tries every combination of a few values of each on all steps of docs/time.md, takes those with the
least mean error, in logarithms, and says how they do on steps that had no part in the choice: those
of each mixer with the figures that all other mixers choose, each half of the steps with those of
the other half, and one layer and whole models likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import isclose, log
from statistics import median

from h100 import TimedStep, pairs, timed

from vitprof.allocation.roofline import step_time
from vitprof.cuda.speed import MEASURED, Host, Speed

_MICRO = 1e-6
_SHARES = (0.6, 0.65, 0.7, 0.75, 0.8)
_ONE_CHANNEL = (0.08, 0.1, 0.12)
_WINDOWS = (0.4, 0.5, 0.6)
_FUNCTION = (8, 9, 10, 11, 12, 13)  # µs
_IN_PYTHON = (30, 40, 50, 60, 70)  # µs


@dataclass(frozen=True)
class Trial:
    """Predictions of all steps with one choice of figures.

    Attributes:
        figures: share, one_channel, windows, function and in_python.
        seconds: predicted time of each step.
        errors: error of each step, in logarithms, without its sign.
    """

    figures: tuple[float, ...]
    seconds: list[float]
    errors: list[float]


def trials() -> Iterator[Trial]:
    """Yield predictions with every combination of figures."""
    units = [Host(function=1.0, in_python=0.0), Host(function=0.0, in_python=1.0)]
    host = [_times(replace(MEASURED, host=unit), on_host=True) for unit in units]
    for shares in product(_SHARES, _ONE_CHANNEL, _WINDOWS):
        share, one_channel, windows = shares
        speed = replace(MEASURED, share=share, one_channel=one_channel, windows=windows)
        device = _times(speed, on_host=False)
        for function, in_python in product(_FUNCTION, _IN_PYTHON):
            seconds = [
                max(own, _MICRO * (function * one + in_python * other))
                for own, one, other in zip(device, *host, strict=True)
            ]
            errors = [
                abs(log(own / step.seconds)) for own, step in zip(seconds, timed(), strict=True)
            ]
            yield Trial((*shares, function, in_python), seconds, errors)


def _times(speed: Speed, *, on_host: bool) -> list[float]:
    found = [step_time([(1, step.launches)], step.workload, speed).whole for step in timed()]
    return [whole.host if on_host else whole.device for whole in found]


def best(some: list[Trial], chosen: Callable[[TimedStep], bool]) -> Trial:
    """Return the trial with the least mean error on some of the steps."""
    places = [place for place, step in enumerate(timed()) if chosen(step)]
    return min(some, key=lambda trial: sum(trial.errors[place] for place in places))


def left_out(some: list[Trial], fold: Callable[[TimedStep], Hashable]) -> list[float]:
    """Return a prediction of each step with the figures that the steps of other folds choose."""
    folds = {fold(step) for step in timed()}

    def without(one: Hashable) -> Trial:
        return best(some, lambda step: fold(step) != one)

    by_fold = {one: without(one) for one in folds}
    return [by_fold[fold(step)].seconds[place] for place, step in enumerate(timed())]


def said(seconds: list[float]) -> str:
    """Return errors and order of predictions, in words."""
    by_label = {step.label: own for step, own in zip(timed(), seconds, strict=True)}
    errors = sorted(abs(by_label[step.label] / step.seconds - 1) for step in timed())
    seconds_of = [[by_label[step.label] for step in pair] for pair in pairs(timed())]
    ordered = [one < other and not isclose(one, other) for one, other in seconds_of]
    return (
        f"median {median(errors):.1%}, nine in ten within {errors[int(0.9 * len(errors))]:.1%}, "
        f"worst {errors[-1]:.1%}, {sum(ordered)} of {len(ordered)} pairs in order"
    )


def main() -> None:
    some = list(trials())
    fitted = best(some, lambda step: True)
    print(f"all steps: {fitted.figures}: {said(fitted.seconds)}")
    places = {step.label: place for place, step in enumerate(timed())}
    folds: dict[str, Callable[[TimedStep], Hashable]] = {
        "each mixer by the others": lambda step: step.mixer,
        "each half by the other": lambda step: places[step.label] % 2,
        "layers by models, models by layers": lambda step: step.label.startswith("--model layer"),
    }
    for name, fold in folds.items():
        print(f"{name}: {said(left_out(some, fold))}")


if __name__ == "__main__":
    main()
