"""MACs of a training step in comparisons, sweeps and check files: those of `vitprof macs`."""

from __future__ import annotations

from typing import Any

import check_files
import pytest
from check_files import Write, checked, refused
from commands import Capture, document

import vitprof
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.report.counts import Counts
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.sweeps.costs import COSTS
from vitprof.sweeps.crossover import find

write = check_files.write
nowhere_in_particular = check_files.nowhere_in_particular

SIZES: dict[str, Any] = {"tokens": 49, "dim": 24, "heads": 3}
MIXERS = ["attn", "performer", "conv"]


def of_macs(mixer: str, **options: Any) -> Counts:
    return vitprof.macs("layer", mixer=mixer, training=True, counters=["analytic"], **options)


def test_compare(capsys: Capture) -> None:
    words = ("--tokens=49", "--dim=24", "--heads=3", "--batch=2", "--checkpoint", "--up-to=60")
    found = document(
        capsys, "compare", f"--mixers={','.join(MIXERS)}", *words, "--training", "--layers"
    )
    assert found["measures"] == ["params", "macs", "training_macs", "memory"]
    layers = {one["path"]: one["counts"]["training_macs"] for one in found["layers"]}
    for model in found["models"]:
        alone = of_macs(model["name"], batch=2, checkpoint=True, **SIZES)
        assert model["amounts"]["training_macs"] == alone.total
        for row in alone.rows:
            if row.path in layers:
                assert layers[row.path][model["name"]] == row.count
    assert "training_macs" in {one["measure"] for one in found["crossovers"]}
    assert "training MACs are" in found["convention"]


def test_compare_has_them_only_if_asked(capsys: Capture) -> None:
    found = document(capsys, "compare", "--mixers=attn,pool", "--tokens=9", "--up-to=20")
    assert found["measures"] == ["params", "macs", "memory"]
    with pytest.raises(SpecError, match="training compares a training step; leave out inference"):
        vitprof.compare("layer", mixers=["attn", "linear"], training=True, inference=True)


@pytest.mark.parametrize("measure", ["training-macs", "training_macs"])
def test_sweep(measure: str) -> None:
    found = vitprof.sweep(
        mixers=["attn", "linear"], measures=["macs", measure], tokens="8:64:x2", dim=24, heads=3,
        checkpoint=True,
    )  # fmt: skip
    assert found.measures == ("macs", "training_macs")
    for point in found.points:
        sizes = {"tokens": point.at["tokens"], "dim": 24, "heads": 3}
        alone = of_macs(point.curve, checkpoint=True, **sizes)
        assert point.values == {"macs": alone.totals["forward"], "training_macs": alone.total}
    assert found.workload == {"batch": 1, "checkpoint": True}
    assert {one.measure for one in found.crossovers} == {"macs", "training_macs"}


def test_inference_has_none() -> None:
    with pytest.raises(SpecError, match="training macs are of a training step"):
        vitprof.sweep(
            measures=["training_macs", "memory"], tokens="8,16", dim=24, heads=3, inference=True
        )


def test_crossovers_are_those_of_every_size() -> None:
    one = specify("layer", mixer="performer", options={**SIZES, "features": 8})
    other = specify("layer", mixer="attn", options=SIZES)
    workload = Workload(batch=2)
    found = find(
        one, other, workload, option="tokens", last=40, measures=["training_macs"]
    )["training_macs"]  # fmt: skip
    cost = COSTS["training_macs"]
    cheaper = [
        tokens
        for tokens in range(found.first, 41)
        if cost(one.at({"tokens": tokens}), workload, None)
        < cost(other.at({"tokens": tokens}), workload, None)
    ]
    assert cheaper == [size for s in found.cheaper for size in range(s.first, s.last + 1)] != []


SPEC = 'model = "layer", tokens = 49, dim = 48, batch = 3, checkpoint = true'
CASE = f"""
[[expect]]
spec = {{ {SPEC} }}
max_training_macs = "17.7M"
reconciled = true

[expect.training_macs]
forward = 4_755_744
training_macs = "4 * 4755744 - 3*49*48*192" # all four times, but for the last product
"mixer.scores" = "4 * (3*4*49*49*12)"
"mlp.fc2" = "3 * (3*49*192*48)"
"""


def test_check_file(capsys: Capture, write: Write) -> None:
    code, out, _ = checked(capsys, write(CASE))
    assert code == 0
    assert "training_macs torch reconciled" in out
    assert "12 of 12 expectations hold" in out


def test_check_file_that_fails_names_the_formula(capsys: Capture, write: Write) -> None:
    code, out, _ = checked(capsys, write(CASE.replace('"4 * (3*4', '"3 * (3*4')))
    assert code == 1
    assert "4 × (B × heads × N × (head dim × N)) = 4 × (3 × 4 × 49 × (12 × 49))" in out


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"mlp.fc2"', '"mlp.fc3"', "`vitprof macs --training --full` lists the layers"),
        ("checkpoint = true", "inference = true", "inference has no effect here"),
        (
            "checkpoint = true",
            'dtype = "bf16"',
            "dtype has no effect here; add memory, max_memory or min_batch",
        ),
    ],
)
def test_check_file_refused(
    old: str, new: str, sentence: str, capsys: Capture, write: Write
) -> None:
    assert sentence in refused(capsys, write(CASE.replace(old, new)))


def test_check_file_of_memory_in_inference(capsys: Capture, write: Write) -> None:
    text = CASE.replace("checkpoint = true", "inference = true") + "\n[expect.memory]\npeak = 1\n"
    sentence = refused(capsys, write(text))
    assert "training_macs is of a training step; leave out inference" in sentence


def test_checkpoint_alone_has_no_effect(capsys: Capture, write: Write) -> None:
    text = f"[[expect]]\nspec = {{ {SPEC} }}\n[expect.macs]\nmacs = 4_755_744\n"
    said = refused(capsys, write(text))
    assert "checkpoint has no effect here; add training_macs, memory, max_memory" in said


def test_measures_of_a_model_without_a_step() -> None:
    tree = specify("layer").formula()
    with pytest.raises(AssertionError):  # nothing followed is not the same as 0
        tree.total(Measure.TRAINING)
