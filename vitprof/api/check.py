"""`vitprof.check`: compare models with the expectations of a check file."""

from __future__ import annotations

from pathlib import Path

from vitprof.api.counts import macs, params
from vitprof.expectations.expectations import Outcome
from vitprof.expectations.file import Case, read_cases
from vitprof.progress import Say, quiet
from vitprof.report.check import CaseResult, Check
from vitprof.report.counts import Counts
from vitprof.report.verdict import verdict


def check(file: str | Path, *, trust: bool = False, say: Say = quiet) -> Check:
    """Compare every model of a file with the expectations in that file.

    Args:
        file: a TOML file of expectations.
        trust: let the file run code that it names, `package.module:factory`, `file.py:factory` or
            a mixer `package.module:Name`.
        say: called with a message on the current progress.

    Raises:
        CheckFileError: the file cannot be read or holds an invalid entry, such as code that
            is not trusted.
    """
    results = []
    for case in read_cases(Path(file), trusted=trust):
        say(case.name)
        outcomes = case.evaluate() + (_reconciled(case, say) if case.reconciled else [])
        results.append(CaseResult(name=case.name, line=case.line, outcomes=tuple(outcomes)))
    return Check(file=str(file), cases=tuple(results))


def _reconciled(case: Case, say: Say) -> list[Outcome]:
    reports = (params(case.spec, say=say), macs(case.spec, batch=case.batch, say=say))
    return [outcome for report in reports for outcome in _explained(report)] + _counted(reports[-1])


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
            what=f"{report.command} {tool} reconciled",
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
            what=f"{report.command} {tool} reconciled",
            relation="=",
            expected="explained",
            found=f"n/a: {reason}",
            formula="",
            holds=reason.startswith("cannot be imported"),
        )
        for tool, reason in report.unavailable.items()
    ]
    return explained + missing
