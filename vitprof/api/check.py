"""Run the cases of a check file."""

from __future__ import annotations

from pathlib import Path

from vitprof.api.counts import macs, params
from vitprof.expectations.expectations import Outcome
from vitprof.expectations.file import Case, read_cases
from vitprof.progress import Say, quiet
from vitprof.report.check import CaseResult, Check
from vitprof.report.counts import Counts
from vitprof.report.verdict import verdict


def check(file: str | Path, *, say: Say = quiet) -> Check:
    """Hold every model of a file against what the file expects of it.

    Args:
        file: a TOML file of expectations.
        say: told what is being done.

    Raises:
        CheckFileError: the file cannot be read, or says something that cannot be.
    """
    results = []
    for case in read_cases(Path(file)):
        say(case.name)
        outcomes = case.evaluate() + (_reconciled(case, say) if case.reconciled else [])
        results.append(CaseResult(name=case.name, line=case.line, outcomes=tuple(outcomes)))
    return Check(file=str(file), cases=tuple(results))


def _reconciled(case: Case, say: Say) -> list[Outcome]:
    reports = (params(case.spec, say=say), macs(case.spec, batch=case.batch, say=say))
    return [outcome for report in reports for outcome in _explained(report)]


def _explained(report: Counts) -> list[Outcome]:
    """One outcome a tool; one that cannot run has nothing to explain, and says so."""
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
