"""`vitprof explain`: sums add up, each equation is true in the names that its place defines."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import threads
from combinations import cases
from commands import Capture, document, printed, said
from torch import nn

import vitprof
from vitprof.counters.reconcile import Cause, Difference
from vitprof.formats.expressions import TEXT
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.report.derivation import Term
from vitprof.report.document import Derivation, Equations, Step
from vitprof.report.explain import Explained
from vitprof.request.specs import specify
from vitprof.values.size import Size

one_thread = threads.one_thread

HOME = Path(__file__).parents[2]
EXAMPLE = HOME / "examples" / "encoder-layer.md"
ENCODER: dict[str, Any] = {"batch": 100, "tokens": 50, "dim": 64, "heads": 4}
# A square of tokens, and more than the windows, landmarks and projections of the mixers.
LAYER: dict[str, Any] = {"tokens": 49, "dim": 24, "heads": 3, "mlp_ratio": "2.5"}


def layer_of(mixer: str) -> dict[str, Any]:
    """Return sizes of a layer that suit a mixer."""
    return {**LAYER, **({"reduction": 7} if mixer == "sra" else {})}


def explained(model: Model | str, **options: Any) -> Explained:
    return vitprof.explain(model, **{"counters": ["analytic"], **options})


def drawn(number: int, seed: int) -> list[Model]:
    return [model for model, _ in islice(cases(seed), number)]


def steps_of(report: Explained) -> Iterator[tuple[Derivation, Step]]:
    for element in report.document():
        if isinstance(element, Derivation):
            yield from ((element, step) for step in element.steps)


def evaluated(text: str, names: dict[str, int]) -> int:
    """Evaluate arithmetic as it is printed; every name has to be defined."""
    longest_first = sorted(names, key=len, reverse=True)  # `decoder D` before `D`
    if names:
        any_name = "|".join(map(re.escape, longest_first))
        text = re.sub(rf"(?<!\w)(?:{any_name})(?!\w)", lambda found: f"{names[found[0]]}", text)
    signs = {"×": "*", "−": "-", "/": "//", ",": ""}
    plain = "".join(signs.get(sign, sign) for sign in text)
    assert re.fullmatch(r"[\d+*/() -]+", plain), text
    found = eval(plain)
    assert isinstance(found, int)
    return found


def check_equations(report: Explained) -> int:
    """Check each equation, in the names that its place defines; return their number."""
    names = {one.name: one.value for one in report.symbols if one.value is not None}
    for symbol in report.symbols:
        if symbol.definition is not None and symbol.value is not None:
            assert evaluated(TEXT.equation(symbol.definition).split(" = ")[0], names) == (
                symbol.value
            )
    number = 0
    for derivation, step in steps_of(report):
        local: Sequence[Size] = (*derivation.where, *step.where)
        own = names | {size.name: size.value for size in local}
        for size in local:
            sides = TEXT.defined(size).split(" = ")
            assert [evaluated(side, own) for side in sides] == [size.value] * len(sides)
        sides = TEXT.equation(step.size).split(" = ")
        assert [evaluated(side, own) for side in sides] == [step.size.value] * len(sides)
        number += 1
    return number


def check_sums(report: Explained) -> None:
    for measure, whole in report.derivations.items():
        assert whole.each == report.counts[measure].total
        assert sum(times * term.each for term, times in whole.walk()) == whole.each
    if Measure.MACS in report.counts:
        kinds: dict[str, int] = {}
        for group in report.not_counted:
            for term, times in group.walk():
                kinds[term.type] = kinds.get(term.type, 0) + times * term.each
        assert kinds == dict(report.counts[Measure.MACS].not_counted)


@pytest.mark.parametrize("mixer", MIXERS)
def test_every_mixer_is_derived(mixer: str) -> None:
    model = specify("layer", mixer=mixer, options=layer_of(mixer))
    for report in (explained(model, batch=3), explained(model, batch=3, layer="mixer")):
        check_sums(report)
        check_equations(report)
    rows = vitprof.macs(model, batch=3, counters=["analytic"]).rows
    of_mixer = [row.count for row in rows if row.path.startswith("mixer")]
    assert report.totals["macs"] == sum(of_mixer)
    assert report.equations in (Path(_file(mixer)).read_text(encoding="utf-8"))
    # Prose is wrapped, equations are not: they have to fit a terminal.
    equations = (line for line in report.equations.splitlines() if line.startswith(" "))
    assert max(map(len, equations), default=0) <= 80


def _file(mixer: str) -> str:
    module = MIXERS[mixer].__module__.replace(".", "/")
    return str(HOME / f"{module}.py")


def test_random_models_are_derived() -> None:
    """Names that differ between encoder and decoder, or between layers, are said where used."""
    equations = 0
    for place, model in enumerate(drawn(60, seed=1)):
        for fold in (True, False):
            words = {"training": True, "checkpoint": place % 8 == 0} if place % 4 == 0 else {}
            report = explained(model, batch=2, fold=fold, **words)
            check_sums(report)
            equations += check_equations(report)
    assert equations > 2_000


def test_the_report_of_the_classifier() -> None:
    """The lines of the report, from its one encoder layer to the totals."""
    report = explained("layer", **ENCODER)
    lines = {step.name: TEXT.equation(step.size) for _, step in steps_of(report)}
    found = [TEXT.equation(step.size) for _, step in steps_of(report)]
    assert found[:7] == [
        "2 × D = 2 × 64 = 128",
        "in × out + out = 64 × 192 + 192 = 12,480",
        "in × out + out = 64 × 64 + 64 = 4,160",
        "2 × D = 2 × 64 = 128",
        "in × out + out = 64 × 256 + 256 = 16,640",
        "in × out + out = 256 × 64 + 64 = 16,448",
        "128 + 12,480 + 4,160 + 128 + 16,640 + 16,448 = 49,984",
    ]
    assert lines["mixer.qkv"] == "B × N × in × out = 100 × 50 × 64 × 192 = 61,440,000"
    assert lines["mixer.scores"] == (
        "B × heads × N × (head dim × N) = 100 × 4 × 50 × (16 × 50) = 16,000,000"
    )
    assert lines["sum"] == (
        "61,440,000 + 16,000,000 + 16,000,000 + 20,480,000 + 81,920,000 + 81,920,000 = 277,760,000"
    )
    assert lines["softmax"] == "B × heads × N × N = 100 × 4 × 50 × 50 = 1,000,000"


def test_equal_blocks_are_derived_once() -> None:
    of_one = 2 * 128 + 20_640 + 256 + 32 + 1_312 + 2 * 128 + 66_048 + 65_664
    params = explained("mae", depth=3, mixer="lambda", measures=["params"])
    lines = {step.name: TEXT.equation(step.size) for _, step in steps_of(params)}
    assert lines["blocks.0-2"] == f"3 × {of_one:,} = {3 * of_one:,}"
    full = explained("mae", depth=3, mixer="lambda", measures=["params"], fold=False)
    words = {step.name: step.words for _, step in steps_of(full)}
    assert words["blocks.1"] == "Block, as blocks.0"
    assert full.totals == params.totals


@pytest.mark.parametrize("layer", ["", "blocks.1", "blocks.1.mixer", "blocks.1.mixer.qkv"])
@pytest.mark.parametrize("options", [{"mixer": "attn"}, {"mixer": "lambda"}, {"fused": True}])
def test_every_tool_is_a_sum_of_causes(layer: str, options: dict[str, Any]) -> None:
    report = vitprof.explain("classifier", layer=layer, batch=2, **options)
    assert report.complaint == ""
    for counts in report.counts.values():
        assert not counts.unavailable
        for tool, difference in counts.differences.items():
            assert difference.reading == counts.counters[tool]
            assert difference.count == counts.total
    shown = {step.name: step.size.value for _, step in steps_of(report)}
    for tool, difference in report.counts[Measure.MACS].differences.items():
        if not difference.agrees:
            assert shown[tool] == difference.reading
    check_equations(report)


def test_what_no_cause_explains_is_a_term_of_its_own() -> None:
    report = vitprof.explain("layer", counters=["torch"], measures=["macs"])
    counts = report.counts[Measure.MACS]
    cause = Cause(cause="a reason", amount=-5, paths={"mlp.fc1": -5})
    wrong = Difference(count=counts.total, reading=counts.total + 2, causes=(cause,))
    changed = replace(report, counts={Measure.MACS: replace(counts, differences={"torch": wrong})})
    assert changed.complaint == "the count of torch is not explained"
    (step,) = (step for _, step in steps_of(changed) if step.name == "torch")
    assert step.words == "−5 a reason (mlp.fc1); +7 UNEXPLAINED"
    assert TEXT.equation(step.size) == (f"{counts.total:,} − 5 + 7 = {counts.total + 2:,}")


def test_a_layer_that_a_tool_does_not_name_is_not_read() -> None:
    report = vitprof.explain("classifier", layer="blocks", counters=["torch"])
    assert report.counts[Measure.PARAMS].counters == {"torch": 4 * 49_984}
    assert report.counts[Measure.MACS].unavailable == {"torch": "gives no count of blocks alone"}


def test_a_module_is_derived() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.Flatten(2), nn.Linear(64, 5))
    report = vitprof.explain(module, (2, 3, 32, 32))
    check_sums(report)
    assert check_equations(report) > 6
    assert report.totals == {
        "params": 4 * 4 * 3 * 8 + 8 + 64 * 5 + 5,
        "macs": 2 * 8 * 8 * (4 * 4 * 3) * 8 + 2 * 8 * 64 * 5,
    }
    assert report.invocation == ""


def test_a_training_step_is_derived_beside_the_tools_that_read_one() -> None:
    """Count three products of each layer, and two of the first, whose images want no gradient."""
    module = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.Flatten(2), nn.Linear(64, 5))
    report = vitprof.explain(module, (2, 3, 32, 32), training=True)
    check_sums(report)
    check_equations(report)
    convolution, linear = 2 * 8 * 8 * (4 * 4 * 3) * 8, 2 * 8 * 64 * 5
    assert report.totals["training_macs"] == 2 * convolution + 3 * linear
    assert {*report.counts[Measure.TRAINING].differences} == {"torch"}
    own = vitprof.explain("layer", training=True, layer="mlp", counters=["analytic"], tokens=5)
    whole = vitprof.explain("layer", measures=["params"], training=True, counters=["torch"])
    assert own.totals["training_macs"] == 3 * own.totals["macs"]
    assert {*whole.totals} == {"params", "training_macs"}
    assert not whole.not_counted
    said = whole.text()
    assert "Multiply-accumulates of a training step" in said
    assert "What the tools say: training MACs" in said
    both = vitprof.explain("layer", training=True, counters=["torch"], tokens=5).text()
    assert "mode eval, gradients off" in both
    assert "mode train, gradients on" in both


@pytest.mark.parametrize(
    "words",
    [
        "--preset=deit-s --mixer=lambda --image-size=384 --measures=params",
        "--preset=vit-b-16 --batch=3",
        "--model=classifier --layer=blocks.0.mixer --fused --mlp-ratio=8/3",
        "--model=classifier --no-qkv-bias --pool=mean --mixer=window",
        "--model=layer --tokens=7 --mixer=linformer",
        "--model=classifier --depth=2 --training --checkpoint",
        "--model=layer --tokens=7 --training --measures=params --batch=2",
    ],
)
def test_the_command_line_in_a_report_makes_it_again(capsys: Capture, words: str) -> None:
    made = document(capsys, "explain", *shlex.split(words), "--counters=analytic")
    program, *again = shlex.split(made["reproduce"])
    assert program == "vitprof"
    assert document(capsys, *again) == made


def test_random_models_are_named_by_their_command_line(capsys: Capture) -> None:
    for model in drawn(20, seed=2):
        report = explained(model, measures=["params"])
        again = document(capsys, *shlex.split(report.invocation)[1:])
        assert again["counts"]["params"]["spec"] == report.counts[Measure.PARAMS].data()["spec"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--layer=mixr", "there is no layer 'mixr'; did you mean mixer?"),
        ("--measures=memory", "there is no measure 'memory'; .*params and macs"),
        ("--measures=,", "no measure is named; choose from params and macs"),
        ("--batch=0", "batch 0 is out of range"),
        ("--levels=2", "--levels"),
        ("--grad", "grad has no effect with counters analytic; leave it out, or name a tool"),
        ("--train", "train has no effect with counters analytic"),
        ("--measures=params --batch=2", "batch 2 has no effect with measures params; leave it out"),
        ("--measures=params --train", "train has no effect with measures params"),
        ("--measures=params --train --training", "train has no effect with measures params"),
        ("--checkpoint", "checkpoint has no effect with a forward pass alone; .*give training"),
    ],
)
def test_bad_request(capsys: Capture, words: str, sentence: str) -> None:
    assert re.search(
        sentence, said(capsys, "explain", "--tokens=5", "--counters=analytic", *words.split())
    )


def test_equations_are_those_of_the_mixer_alone() -> None:
    whole, alone = (explained("layer", mixer="lambda", layer=layer) for layer in ("", "mixer"))
    assert not any(isinstance(element, Equations) for element in whole.document())
    assert any(isinstance(element, Equations) for element in alone.document())
    assert "Lambda layer (Bello 2021" in alone.equations


def without_versions(text: str) -> str:
    return re.sub(r"^- versions: .*\n", "", text, flags=re.M)


def test_the_example_is_current(capsys: Capture) -> None:
    """One command writes the report: that which it names itself."""
    kept = EXAMPLE.read_text(encoding="utf-8")
    (command,) = re.findall(r"^- reproduce: vitprof (.*)$", kept, re.M)
    text = printed(capsys, *shlex.split(command), "--format=markdown")
    assert without_versions(text) == without_versions(kept), (
        f"run vitprof {command} --output examples/{EXAMPLE.name}"
    )
    assert "= 277{,}760{,}000$$" in kept or "= 277{,}760{,}000 \\end" in kept


def test_markdown_is_math_that_github_shows() -> None:
    r"""GitHub makes one backslash of two, and takes `\,` and `\_` for escapes of Markdown."""
    text = explained("mae", mixer="lambda", batch=2).to_markdown()
    displayed = [line for line in text.splitlines() if "$$" in line]
    assert len(displayed) > 30
    for line in displayed:
        assert re.fullmatch(r"\$\$[^$]+\$\$", line)
        assert not re.search(r"\\[^A-Za-z ]|[_*<|]", line)
        assert line.count("{") == line.count("}")
    assert any(r" \cr &= " in line for line in displayed)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_latex_compiles(tmp_path: Path) -> None:
    parts = [
        explained("mae", mixer="lambda", batch=2).to_latex(),
        explained("classifier", layer="blocks.0.mixer").to_latex(),
    ]
    packages = {line.removeprefix("% needs ") for part in parts for line in part.splitlines()[:2]}
    assert packages == {r"\usepackage{booktabs}", r"\usepackage{amsmath}"}
    head = "\\documentclass{article}\n" + "\n".join(sorted(packages)) + "\n\\begin{document}\n"
    (tmp_path / "report.tex").write_text(head + "\n".join(parts) + "\n\\end{document}\n")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "report.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_terms_have_words() -> None:
    """Each step says in words what it counts; only sums and repeated layers need none."""
    for mixer in MIXERS:
        report = explained("layer", mixer=mixer, **layer_of(mixer))
        for whole in report.derivations.values():
            assert all(term.words for term, _ in whole.walk() if isinstance(term, Term))


def test_what_is_subtracted_keeps_its_parentheses() -> None:
    a, b, c = Size(50, "a"), Size(7, "b"), Size(3, "c")
    assert TEXT.equation(a - (b + c) + 1) == "a − (b + c) + 1 = 50 − (7 + 3) + 1 = 41"
    assert TEXT.equation(a + b * (b - c)) == "a + b × (b − c) = 50 + 7 × (7 − 3) = 78"
