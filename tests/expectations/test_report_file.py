"""The counts of the two reports: `examples/report.toml` holds, and every digit of it matters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import check_files
import pytest
import threads
from check_files import Write, checked, slips
from commands import Capture

from vitprof.expectations.expectations import Expectation, Relation
from vitprof.expectations.file import Case, read_cases
from vitprof.formulas.model import Model

one_thread = threads.one_thread
nowhere_in_particular = check_files.nowhere_in_particular
write = check_files.write

REPORT = Path(__file__).parents[2] / "examples" / "report.toml"
CASES = read_cases(REPORT)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reports_counts_hold(case: Case) -> None:
    assert [outcome for outcome in case.evaluate() if not outcome.holds] == []
    assert case.expectations


def test_the_reports_models_are_reconciled_at_one_size_at_least() -> None:
    models = [(case.spec, case.reconciled) for case in CASES if isinstance(case.spec, Model)]
    assert len(models) == len(CASES)
    kinds = {(spec.name, spec.mixer) for spec, _ in models}
    assert {(spec.name, spec.mixer) for spec, reconciled in models if reconciled} == kinds


def test_the_reports_counts_are_all_there() -> None:
    expected = {expectation.expected for case in CASES for expectation in case.expectations}
    masked_autoencoder = {
        *(27_706_816, 4_048_384, 20_038_848, 3_172_224),
        *(8_320, 256, 66_048, 22_240, 131_712, 1_024, 1_050_624, 157_840, 2_099_712, 32_832),
        *(20_640, 256, 32, 1_312, 155_952, 512, 64, 1_312),
    }
    lambda_macs = {  # of n tokens: 1024 / 4 kept patches of width 128, all 1024 of width 512
        count
        for n, D, h, v in ((257, 128, 8, 16), (1025, 512, 16, 32))
        for count in (n * D * (h * 16 + 16 + v), 16 * n * v, n * h * 16 * v, n * v * 16 * 81)
    }
    classifier = {
        *(49_984, 128, 12_480, 4_160, 16_640, 16_448),
        *(277_760_000, 61_440_000, 16_000_000, 20_480_000, 81_920_000),
    }
    assert masked_autoencoder | lambda_macs | classifier <= expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_digit_of_the_reports_counts_matters(case: Case) -> None:
    exact = [it for it in case.expectations if it.relation is Relation.EQUAL]
    wrong = [slip for expectation in exact for slip in slips(expectation)]
    assert len(wrong) > len(exact)
    outcomes = replace(case, expectations=tuple(wrong)).evaluate()
    assert [slip for slip, it in zip(wrong, outcomes, strict=True) if it.holds] == []


def budgets() -> list[tuple[Case, Expectation]]:
    return [
        (case, budget)
        for case in CASES
        for budget in case.expectations
        if budget.relation is Relation.AT_MOST
    ]


def test_a_budget_holds_up_to_what_is_there() -> None:
    assert len(budgets()) == 2
    for case, budget in budgets():
        (found,) = (it.found for it in replace(case, expectations=(budget,)).evaluate())
        assert isinstance(found, int)
        assert found <= budget.expected
        for most, holds in ((found + 1, True), (found, True), (found - 1, False)):
            given = replace(case, expectations=(replace(budget, expected=most),))
            assert [outcome.holds for outcome in given.evaluate()] == [holds]


def report_without_tools() -> str:
    return REPORT.read_text(encoding="utf-8").replace("reconciled = true", "reconciled = false")


def test_the_reports_file_is_green(capsys: Capture, write: Write) -> None:
    number = sum(len(case.expectations) for case in CASES)
    code, out, err = checked(capsys, write(report_without_tools()))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"{number} of {number} expectations hold"


@pytest.mark.parametrize(
    ("right", "wrong", "failing", "sentence"),
    [
        (
            "layers = 27_706_816",
            "layers = 27_706_817",
            "layers = 27_706_816",
            "params layers: expected 27,706,817, found 27,706,816 (−1)",
        ),
        (
            "16*81 + 16",
            "16*80 + 16",
            "16*81 + 16",
            "params blocks.0.mixer.position_lambdas: expected 1,296, found 1,312 (+16); ",
        ),
        (
            "4*50*(16*50)",
            "4*50*(17*50)",
            "4*50*(16*50)",
            "macs mixer.scores: expected 17,000,000, found 16,000,000 (−1,000,000); ",
        ),
        (
            "max_macs = 277_760_000",
            "max_macs = 277_759_999",
            "max_macs = 277_760_000",
            "macs macs: expected <= 277,759,999, found 277,760,000 (+1)",
        ),
        (
            "patch_size = 16",
            "patch_size = 8",
            "layers = 4_048_384",
            # 16² − 8² = 192 pixels less into the encoder's 128, and less out of the decoder's
            f"params layers: expected 4,048,384, found {4_048_384 - 192 * 128 - 129 * 192:,} ",
        ),
    ],
)
def test_the_reports_file_is_red_when_a_digit_changes(
    capsys: Capture, write: Write, right: str, wrong: str, failing: str, sentence: str
) -> None:
    text = report_without_tools()
    assert right in text
    line = text[: text.index(failing)].count("\n") + 1
    file = write(text.replace(right, wrong, 1))
    code, out, err = checked(capsys, file)
    assert (code, err) == (1, "")
    said = [row for row in out.splitlines() if row.startswith(f"{file}:")]
    assert [row for row in said if row.startswith(f"{file}:{line}: {sentence}")]
