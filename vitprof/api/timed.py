"""Measure the time of each point of a sweep; an interrupted sweep keeps its points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from vitprof.api.bench import BenchError, conditions, time_steps
from vitprof.errors import SpecError, listing
from vitprof.measuring.timing import Protocol, Timing
from vitprof.progress import Say
from vitprof.report.curves import Point
from vitprof.report.sweep import Sweep
from vitprof.request.workload import Workload
from vitprof.subject import Configurable
from vitprof.sweeps.points import step_at
from vitprof.values.options import Plain, label_of, pairs, plain

Keep = Callable[[Sweep], None]
Places = dict[tuple[Plain, ...], list[Point]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Device and limits of a time measurement.

    Attributes:
        device: `cpu`, `cuda` or `cuda:1`.
        protocol: limits of the measurement at each point.
    """

    device: str = "cpu"
    protocol: Protocol = field(default_factory=Protocol)


def conditions_of(clock: Clock) -> dict[str, Plain]:
    """Return what the times depend on besides the workload."""
    import torch

    from vitprof.running.device import find_device

    threads = clock.protocol.threads or torch.get_num_threads()
    protocol = replace(clock.protocol, threads=threads)
    limits = {"spread": plain(protocol.spread), "seconds a point": protocol.budget}
    return {**conditions(find_device(clock.device), protocol), **limits}


def timed(
    models: Mapping[str, Configurable],
    found: Sweep,
    points: Sequence[Point],
    workload: Workload,
    clock: Clock,
    *,
    kept: Sweep | None,
    keep: Keep,
    say: Say,
) -> Sweep:
    """Time the step of each point; the models at one place of the grid take turns.

    Args:
        models: models by curve label.
        found: the sweep without points.
        points: all points, without times.
        workload: settings of the step.
        clock: device and limits of the measurement.
        kept: an interrupted run of the same sweep, whose times are reused; None for none.
        keep: called with the sweep so far after each place.
        say: called with a message on the current progress.

    Returns:
        The sweep; if interrupted, with the finished places only.
    """
    by_place: dict[tuple[Plain, ...], list[Point]] = {}
    for point in points:
        by_place.setdefault(_place(point), []).append(point)
    done = {} if kept is None else _done(by_place, kept)
    begin, begun = perf_counter(), len(done)
    try:
        for place, here in by_place.items():
            if place in done:
                continue
            left = len(by_place) - len(done)
            each = (perf_counter() - begin) / max(1, len(done) - begun)
            where = (
                f"{pairs(here[0].at)}, {left:,} of {len(by_place):,} left{_minutes(each * left)}"
            )
            done[place] = _times(models, here, workload, clock, _after(where, say))
            keep(_with_points(found, by_place, done))
    except KeyboardInterrupt:
        pass
    return _with_points(found, by_place, done)


def _place(point: Point) -> tuple[Plain, ...]:
    return tuple(point.at.values())


def _done(by_place: Places, kept: Sweep) -> Places:
    """Return the places whose points are all in `kept`, with its times and reasons."""
    known = {(point.curve, *_place(point)): point for point in kept.points}
    done: Places = {}
    for place, here in by_place.items():
        before = [known.get((point.curve, *place)) for point in here]
        measured = [
            _with_time(point, old.values.get("time"), old.timing, old.reason)
            for point, old in zip(here, before, strict=True)
            if old is not None
        ]
        if len(measured) == len(here):
            done[place] = measured
    return done


def _with_points(found: Sweep, by_place: Places, done: Places) -> Sweep:
    """Return the sweep with the points of the finished places, curve by curve."""
    points = [point for place in by_place for point in done.get(place, ())]
    points.sort(key=lambda point: found.curves.index(point.curve))
    return replace(found, points=tuple(points))


def _with_time(
    point: Point, time: float | None, timing: Mapping[str, float | int], reason: str
) -> Point:
    return replace(point, values={**point.values, "time": time}, timing=timing, reason=reason)


def _minutes(seconds: float) -> str:
    return f", about {seconds / 60:.0f} min" if seconds >= 60 else ""


def _after(where: str, say: Say) -> Say:
    return lambda what: say(f"{where}: {what}")


def _times(
    models: Mapping[str, Configurable],
    points: list[Point],
    workload: Workload,
    clock: Clock,
    say: Say,
) -> list[Point]:
    """Return the points of a place with their times, or with reasons for steps that failed."""
    defined = {
        point.curve: models[point.curve].at(point.at) for point in points if not point.reason
    }
    step = step_at(workload, points[0].at)

    def measured(some: Mapping[str, Configurable]) -> dict[str, Timing]:
        timings, _ = time_steps(some, step, clock.protocol, device=clock.device, say=say)
        return timings

    times: dict[str, Timing] = {}
    reasons: dict[str, str] = {}
    try:
        times = measured(defined) if defined else {}
    except BenchError:  # one by one, to find the models that fail
        for label, model in defined.items():
            try:
                times |= measured({label: model})
            except BenchError as error:
                reasons[label] = str(error)
    found = []
    for point in points:
        timing, reason = times.get(point.curve), reasons.get(point.curve, point.reason)
        time, record = (None, {}) if timing is None else (timing.median, timing.record())
        found.append(_with_time(point, time, record, reason))
    return found


def check_same(kept: Sweep, wanted: Sweep) -> None:
    """Raise SpecError unless `kept` is the same sweep on the same machine."""
    for name in ("curves", "measures"):
        there, here = getattr(kept, name), getattr(wanted, name)
        if there != here:
            raise SpecError(
                f"the file holds another sweep, of {listing(there, 'and')} where this one is of "
                f"{listing(here, 'and')}; give another file"
            )
    for name in ("axes", "spec", "own", "workload", "versions", "conditions"):
        there, here = getattr(kept, name), getattr(wanted, name)
        for key in {**here, **there}:
            if there.get(key) != here.get(key):
                raise SpecError(
                    f"the file holds another sweep, with {label_of(key)} {_shown(there.get(key))} "
                    f"where this one has {_shown(here.get(key))}; give another file"
                )


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return pairs(value) or "none"
    if isinstance(value, tuple):
        return f"{value[0]} to {value[-1]} ({len(value)} values)"
    return "none" if value is None else str(value)
