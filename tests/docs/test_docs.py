"""README and docs: commands print the output shown, Python code runs, links resolve."""

from __future__ import annotations

import importlib.util
import re
import shlex
from doctest import ELLIPSIS, OutputChecker
from pathlib import Path

import pytest
from cases import for_each

from vitprof.cli import run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
    if path.name != "cli.md"
}
FIRST_SH, SECOND_SH = re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)
FIRST_OUTPUT = re.findall(r"^```text\n(.*?)^```", README, re.M | re.S)[0]
LIBRARIES = ("timm", "torchvision", "transformers")  # which not every installation has
MAIN_JOB = FIRST_SH.split("&&")[-1].strip().removeprefix(".venv/bin/")
CONSOLE = [
    shown
    for page in PAGES.values()
    for shown in re.findall(r"^```console\n\$ (.*?)\n(.*?)^```", page, re.M | re.S)
]
LINKS = [
    (page, link)
    for page, text in PAGES.items()
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text)
]


def without_versions(output: str) -> str:
    """Return the output without text that differs between machines."""
    return re.sub(r"^versions .*\n(?: .*\n)*", "", output, flags=re.M)


@pytest.mark.parametrize(
    ("command", "shown"), [(MAIN_JOB, FIRST_OUTPUT), *CONSOLE], ids=lambda text: text[:40]
)
def test_commands_print_what_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, shown: str
) -> None:
    """Compare the output with the block; a line of dots is any number of lines."""
    for library in LIBRARIES:
        if f"{library}:" in command + shown and importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    name, *arguments = shlex.split(command)
    assert (name, run(arguments)) == ("vitprof", 0)
    printed, said = capsys.readouterr()
    assert said == ""
    wanted, found = without_versions(shown), without_versions(printed)
    if "\n...\n" in wanted:
        assert OutputChecker().check_output(wanted, found, ELLIPSIS), found
    else:
        assert found == wanted


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(README.splitlines()) <= 200
    before = "\n".join(README.splitlines()[:25])
    assert FIRST_SH in before
    assert SECOND_SH in before
    assert "20,038,848" in FIRST_OUTPUT


def test_python_of_the_docs_is_true() -> None:
    """Compare the value of each line with the value in its comment."""
    checked = 0
    for block in re.findall(r"^```python\n(.*?)^```", "\n".join(PAGES.values()), re.M | re.S):
        names: dict[str, object] = {}
        for line in block.splitlines():
            code, _, comment = line.partition("#")
            if re.fullmatch(r"\s*(\d+|'.*')\s*", comment):
                assert eval(code, names) == eval(comment)
                checked += 1
            else:
                exec(code, names)
    assert checked >= 12


@for_each("page, link", LINKS)
def test_links_lead_somewhere(page: str, link: str) -> None:
    assert (ROOT / page).parent.joinpath(link).exists()


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {link for page, link in LINKS if page == "README.md"}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= linked


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("make_cli", "reference"),
        ("make_gpu", "page"),
        ("make_mixers", "page"),
        ("make_time", "page"),
    ],
)
def test_written_pages_are_current(name: str, function: str) -> None:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == getattr(script, function)(), (
        f"run python docs/{name}.py"
    )


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "README.md" in script
    for command in (MAIN_JOB, SECOND_SH.strip()):
        assert command not in script
