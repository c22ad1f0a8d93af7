"""Every report of the project is tested, and equals itself alone."""

from __future__ import annotations

from importlib import import_module
from inspect import isabstract
from pkgutil import iter_modules

import threads
from reports import REPORTS, every_report, report_of

from vitprof.report.base import Report

one_thread = threads.one_thread


def kinds_of(kind: type) -> set[str]:
    """Return the names of all subclasses of a class that are not abstract."""
    below: list[type] = kind.__subclasses__()
    named = {f"{one.__module__}.{one.__name__}" for one in below if not isabstract(one)}
    return named.union(*map(kinds_of, below))


def test_no_report_of_the_project_is_missing() -> None:
    package = import_module("vitprof.report")
    for module in iter_modules(package.__path__, "vitprof.report."):
        import_module(module.name)
    reports = [report_of(name) for name in REPORTS]
    there = {name for name in kinds_of(Report) if name.startswith("vitprof.")}
    assert len(there) >= 12
    assert {f"{type(one).__module__}.{type(one).__name__}" for one in reports} == there
    assert {report.command for report in reports} == {
        *("params", "macs", "memory", "batch-size", "bench", "compare", "sweep", "check"),
        *("explain", "match", "presets", "mixers", "models", "gpus", "time"),
    }


@every_report
def test_equal_requests_have_equal_reports(name: str) -> None:
    report, again = report_of(name), REPORTS[name]()
    assert again == report
    assert again.to_json() == report.to_json()
    others = [other for other in REPORTS if other != name]
    assert all(report != report_of(other) for other in others)
