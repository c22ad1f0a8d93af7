"""`vitprof.check`: compare models with the expectations of check files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vitprof.api.counts import macs, params
from vitprof.errors import SpecError
from vitprof.expectations.expectations import Outcome
from vitprof.expectations.file import Case, read_cases
from vitprof.expectations.patterns import find_files
from vitprof.formulas.layer import Measure
from vitprof.progress import Say, quiet
from vitprof.report.check import CaseResult, Check
from vitprof.report.counts import Counts
from vitprof.report.verdict import verdict


def check(*files: str | Path, trust: bool = False, say: Say = quiet) -> Check:
    """Compare every model of some files with the expectations in those files.

    All files are read before a model is looked at.

    Args:
        *files: TOML files of expectations, or patterns, `checks/*.toml`.
        trust: let the files run code that they name, `package.module:factory`, `file.py:factory` or
            a mixer `package.module:Name`.
        say: called with a message on the current progress.

    Raises:
        SpecError: no file is given.
        CheckFileError: a file cannot be read or holds an invalid entry, such as code that is not
            trusted, or no file matches a pattern.
    """
    if not files:
        raise SpecError("no check file is given; give one, or a pattern such as checks/*.toml")
    cases = [case for file in find_files(files) for case in read_cases(file, trusted=trust)]
    results = []
    for case in cases:
        say(case.name)
        outcomes = case.evaluate() + (_reconciled(case, say) if case.reconciled else [])
        results.append(
            CaseResult(
                file=str(case.path), name=case.name, line=case.line, outcomes=tuple(outcomes)
            )
        )
    return Check(cases=tuple(results))


def _reconciled(case: Case, say: Say) -> list[Outcome]:
    tools = case.reconciled
    reports = [
        params(case.spec, counters=tools, say=say),
        macs(case.spec, batch=case.batch, counters=tools, say=say),
    ]
    counted = _counted(reports[-1])
    if case.expects(Measure.TRAINING):
        step = case.workload
        of_step: dict[str, Any] = {"batch": step.batch, "checkpoint": step.checkpoint}
        reports.append(macs(case.spec, training=True, counters=tools, say=say, **of_step))
    return [outcome for report in reports for outcome in _explained(report)] + counted


# Reasons for which a tool has no reading that are no fault of a count.
_PASSES = ("cannot be imported", "not installed", "counts ")


def _counted(report: Counts) -> list[Outcome]:
    """Return the outcome that a rule counts every kernel of a module."""
    if report.module is None:
        return []
    found = report.module.unknown_words
    return [
        Outcome(
            what="macs kernels counted",
            relation="=",
            expected="all",
            found=f"all but {found}" if found else "all",
            formula="",
            holds=not found,
        )
    ]


def _explained(report: Counts) -> list[Outcome]:
    """Return one outcome per tool; a tool that is not installed passes."""
    explained = [
        Outcome(
            what=f"{report.measure} {tool} reconciled",
            relation="=",
            expected="explained",
            found="explained" if difference.explained else verdict(difference),
            formula="",
            holds=difference.explained,
        )
        for tool, difference in report.differences.items()
    ]
    missing = [
        Outcome(
            what=f"{report.measure} {tool} reconciled",
            relation="=",
            expected="explained",
            found=f"n/a: {reason}",
            formula="",
            holds=reason.startswith(_PASSES),
        )
        for tool, reason in report.unavailable.items()
    ]
    return explained + missing
