"""Examples: they agree with the reports, load no torch, and fail on a wrong digit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
FIGURES = {
    "report_mae.py": ["27,706,816", "20,038,848", "4,048,384", "3,172,224", "22,240", "157,840"],
    "report_classifier.py": ["49,984", "12,480", "277,760,000", "= 100 × 4 × 50 × (16 × 50)"],
}

# The memory's is run, and its figures are derived, in tests/allocation/test_report_memory.py.
every_example = pytest.mark.parametrize("example", FIGURES)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "utf8", *map(str, arguments)]
    env = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=env, check=False)


def test_every_report_is_run() -> None:
    assert {path.name for path in (HOME / "examples").glob("report_*.py")} == {
        *FIGURES,
        "report_memory.py",
    }


@every_example
def test_an_example_finds_the_reports_figures_without_torch(example: str) -> None:
    done = run("-X", "importtime", HOME / "examples" / example)
    assert done.returncode == 0
    assert [figure for figure in FIGURES[example] if figure not in done.stdout] == []
    assert "NO" not in done.stdout
    assert all(line.startswith("import time:") for line in done.stderr.splitlines())
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "vitprof" in modules
    assert "torch" not in modules


@pytest.mark.parametrize(
    ("example", "digit"),
    [
        ("report_mae.py", "27_706_816"),
        ("report_mae.py", "3_172_224"),
        ("report_mae.py", "157_840"),
        ("report_classifier.py", "12_480"),
        ("report_classifier.py", "277_760_000"),
    ],
)
def test_an_example_fails_on_a_wrong_digit(example: str, digit: str, tmp_path: Path) -> None:
    right = (HOME / "examples" / example).read_text(encoding="utf-8")
    assert digit in right
    wrong = tmp_path / example
    wrong.write_text(right.replace(digit, f"1{digit}"), encoding="utf-8")
    done = run(wrong)
    assert done.returncode == 1
    assert "NO" in done.stdout


def test_the_benchmark_says_how_to_run_it() -> None:
    done = run(HOME / "benchmarks" / "speed.py", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--runs" in done.stdout
