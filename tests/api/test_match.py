"""`vitprof match`: sizes by hand, the two sides, every format, and what is refused."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Capture, document, printed, said

import vitprof
from vitprof.errors import SpecError
from vitprof.expectations.file import read_cases
from vitprof.formats.table import plain
from vitprof.formulas.model import Model
from vitprof.report.match import Match
from vitprof.request.specs import specify, subject

WORDS = ("match", "--preset=deit-s", "--mixer=lambda")
LAYER = ("match", "--model=layer", "--mixer=identity", "--tokens=7", "--heads=3")
TO_LAYER = "--reference=layer,dim=12,heads=3"


def sizes(found: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(one["side"], one["at"]) for one in found["sizes"]]


def test_sizes_by_hand(capsys: Capture) -> None:
    """Parameters of a layer: norms 4D and MLP 8D² + 5D, and of attention 4D² + 4D."""
    of_reference = 12 * 12**2 + 13 * 12
    of_identity = {dim: 8 * dim**2 + 9 * dim for dim in range(3, 4096, 3)}
    above = min(dim for dim, own in of_identity.items() if own > of_reference)
    assert (above, of_identity[12] < of_reference) == (15, True)
    found = document(capsys, *LAYER, TO_LAYER, "--vary=dim", "--by=params")
    assert (found["schema"], found["command"]) == ("vitprof/2", "match")
    assert sizes(found) == [("above", {"dim": 15}), ("below", {"dim": 12})]
    assert found["reference"]["amounts"]["params"] == of_reference
    for one in found["sizes"]:
        own = of_identity[one["at"]["dim"]]
        assert one["amounts"]["params"] == own
        assert one["differences"]["params"] == own - of_reference
        assert one["changes"]["params"] == (own - of_reference) / of_reference
    assert (found["admitted"], found["exact_number"]) == (4096 // 3, 0)
    # At depth 5 of another width the same parameters are met exactly.
    exact = f"--reference=layer,mixer=identity,dim={3 * 4},heads=3"
    found = document(capsys, *LAYER, exact, "--vary=dim", "--by=params")
    assert sizes(found)[0] == ("exact", {"dim": 12})
    assert found["exact_number"] == 1
    assert {side for side, _ in sizes(found)} == {"exact", "below", "above"}


def test_an_open_range_goes_on_until_something_costs_more(capsys: Capture) -> None:
    """8D² + 9D of the variant are 12 × 6,000² + 13 × 6,000 near D = 6,000 √1.5 = 7,348.5."""
    found = document(
        capsys, *LAYER, "--reference=layer,dim=6000,heads=3", "--vary=dim", "--by=params"
    )
    assert sizes(found) == [("above", {"dim": 7350}), ("below", {"dim": 7347})]
    closed = document(
        capsys, *LAYER, "--reference=layer,dim=6000,heads=3", "--vary=dim=1:4096", "--by=params"
    )
    assert sizes(closed) == [("below", {"dim": 4095})]
    assert closed["vary"] == {"dim": "3 to 4,095 in steps of 3"}


STEP: dict[str, Any] = {"batch": 2, "dtype": "bf16", "optimizer": "sgd"}


@pytest.mark.parametrize(
    ("by", "budget"),
    [("memory", "memory"), ("batch", "memory"), ("gpu_memory", "gpu"), ("batch", "gpu")],
)
def test_amounts_are_those_of_the_other_commands(by: str, budget: str) -> None:
    """The width is the nearest of all, and each cost equals that of the other commands."""
    given: dict[str, Any] = {"memory": "5MiB"} if budget == "memory" else {"gpu": "v100-16"}
    reference = specify("layer", options={"tokens": 65, "dim": 40})
    widths = [*range(32, 65, 8 if budget == "gpu" else 4)]
    models = {dim: specify("layer", options={"tokens": 65, "dim": dim}) for dim in widths}
    found = vitprof.match(
        specify("layer", options={"tokens": 65}),
        reference=reference,
        vary={"dim": widths},
        by=by,
        show=9,
        **given,
        **STEP,
    )
    measures = ["params", "macs", "memory", "batch"]
    assert {*found.measures} == {*measures, *(["gpu_memory"] if budget == "gpu" else [])}
    sides = vitprof.compare(
        models={"reference": reference, **{str(dim): models[dim] for dim in widths}},
        up_to=1,
        **given,
        **STEP,
    ).sides
    costs = {side.name: {**side.amounts} for side in sides}
    if budget == "gpu":
        for name, model in {"reference": reference, **models}.items():
            on_gpu = vitprof.memory(model, trace=False, **given, **STEP).gpu
            assert on_gpu is not None
            costs[str(name)]["gpu_memory"] = on_gpu.total
    target = costs["reference"][by]
    for one in (found.reference, *found.sizes):
        assert one.amounts == costs[str(one.place.get("dim", "reference"))]
        assert one.reason == ""

    def distance(dim: int) -> tuple[float, bool, int]:
        cost = costs[str(dim)][by]
        return abs(cost - target), cost > target, -dim

    assert [one.place["dim"] for one in found.sizes] == sorted(widths, key=distance)
    assert found.exact is not None
    assert found.exact_number == sum(costs[str(dim)][by] == target for dim in widths)


@pytest.mark.parametrize("mixer", ["lambda", "performer", "window"])
def test_training_macs_are_matched_where_they_are_nearest(mixer: str) -> None:
    """Count at every size; they are listed where they are matched alone."""
    reference = specify("layer", options={"tokens": 49, "dim": 40})
    words: dict[str, Any] = {"reference": reference, "batch": 3, "checkpoint": True}
    for name, values in (("dim", range(8, 81, 8)), ("tokens", (9, 16, 49, 64))):
        given: dict[str, Any] = {} if name == "tokens" else {"tokens": 49}
        given |= {"window": 1} if mixer == "window" else {}
        found = vitprof.match(
            "layer", mixer=mixer, vary={name: [*values]}, by="training_macs", **given, **words
        )
        costs = {
            value: training_macs(specify("layer", mixer=mixer, options={**given, name: value}))
            for value in values
        }
        target = training_macs(reference)
        assert found.reference.amounts["training_macs"] == target
        nearest = {
            "below": max((cost for cost in costs.values() if cost < target), default=None),
            "exact": target if target in costs.values() else None,
            "above": min((cost for cost in costs.values() if cost > target), default=None),
        }
        listed = {one.side: one.amounts["training_macs"] for one in found.sizes}
        assert listed == {side: nearest[side] for side in listed}
        assert {*listed} in ({"exact"}, {side for side, cost in nearest.items() if cost})
    usual = vitprof.match("layer", mixer=mixer, vary={"dim": [8, 40]}, tokens=49, **given, **words)
    assert "training_macs" not in usual.measures


def training_macs(model: Model) -> int:
    """Return those of three images, with checkpointing."""
    return vitprof.macs(model, batch=3, training=True, checkpoint=True, counters=["analytic"]).total


def test_the_reference_has_the_task_and_nothing_else_of_the_variant(capsys: Capture) -> None:
    given = {"image_size": 64, "channels": 1, "classes": 10, "mlp_ratio": 3, "pool": "mean"}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    found = document(capsys, *WORDS, *words, "--key-depth=8", "--vary=dim")
    shared = {name: given[name] for name in ("image_size", "channels", "classes")}
    expected = specify(options={"preset": "deit-s", **shared})
    assert found["reference"]["spec"] == expected.words()
    variant = specify(mixer="lambda", options={"preset": "deit-s", **given, "key_depth": 8})
    own = variant.words()
    del own["dim"]
    assert found["variant"] == own
    for one in found["sizes"]:
        assert one["spec"] == variant.at(one["at"]).words()
    assert found["not_shared"] == {}


@pytest.mark.parametrize(
    ("reference", "model", "options", "apart"),
    [
        ("deit-ti", None, {"preset": "deit-ti", "classes": 10}, {}),
        ("deit-ti,classes=3,pool=mean", None, {"preset": "deit-ti", "classes": 3}, {}),
        ("mae,depth=2", "mae", {"depth": 2}, {"classes": "10"}),
        ("layer, head-dim=4", None, None, {}),
        ("layer,dim=96,mixer=pool,tokens=9", "layer", {"dim": 96, "tokens": 9}, {"classes": "10"}),
    ],
)
def test_a_reference_in_words(
    reference: str,
    model: str | None,
    options: dict[str, object] | None,
    apart: dict[str, str],
    capsys: Capture,
) -> None:
    words = (*WORDS, "--classes=10", "--vary=depth", f"--reference={reference}")
    if options is None:
        assert "head_dim" in said(capsys, *words)
        return
    found = document(capsys, *words)
    spec = found["reference"]["spec"]
    mixer = "pool" if "mixer=pool" in reference else "attn"
    more = {"pool": "mean"} if "pool=mean" in reference else {}
    assert spec == specify(model, mixer=mixer, options={**options, **more}).words()
    assert found["not_shared"] == apart


def test_heads_follow_the_dim(capsys: Capture) -> None:
    found = document(capsys, *WORDS, "--vary=dim,depth=6:14", "--keep-head-dim", "--show=40")
    assert len(found["sizes"]) == 40
    for one in found["sizes"]:
        assert one["spec"]["dim"] == 64 * one["spec"]["heads"] == one["at"]["dim"]
        assert one["at"]["heads"] == one["spec"]["heads"]
    apart = [abs(one["differences"]["macs"]) for one in found["sizes"]]
    assert apart == sorted(apart)
    assert found["admitted"] == 9 * 64


def test_models_can_be_built() -> None:
    found = vitprof.match(
        specify("layer", mixer="linear", options={"tokens": 9}),
        reference=specify("layer", options={"tokens": 9, "dim": 128}),
        vary=["dim"],
    )
    assert found.below is not None
    assert found.exact is not None or found.above is not None
    module = found.below.model.build(device="meta", dtype=torch.float32)
    assert sum(one.numel() for one in module.parameters()) == found.below.amounts["params"]


@pytest.fixture(scope="module")
def report() -> Match:
    return vitprof.match(
        preset="deit-s", mixer="lambda", vary="dim=300:500,depth=8:14", memory="8GiB", batch=3
    )


def test_formats_agree(report: Match) -> None:
    data = json.loads(report.to_json())
    rows = [*csv.DictReader(StringIO(report.to_csv()))]
    lines = [data["reference"], *data["sizes"]]
    assert len(rows) == len(lines) == 11
    names = {"memory": "memory_bytes"}
    for row, one in zip(rows, lines, strict=True):
        assert row["side"] == one["side"]
        assert row["dim"] == str(one["spec"]["dim"])
        for measure, amount in one["amounts"].items():
            name = names.get(measure, measure)
            assert row[name] == str(amount)
            assert row[f"{name}_difference"] == str(one["differences"][measure])
    table = plain(report, 200)
    for one in data["sizes"]:
        assert f"{one['amounts']['macs']:,}" in table
        assert f"{one['amounts']['macs']:,}" in report.to_markdown()
    assert report.to_latex()
    assert report.to_html()


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_table_cuts_no_figure(report: Match, width: int) -> None:
    lines = plain(report, width).splitlines()
    assert max(map(len, lines)) <= width
    for one in report.sizes:
        assert any(f"{one.amounts['params']:,}" in line for line in lines)


def test_the_file_is_read_by_check_and_compare(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = (*WORDS, "--vary=dim", "--keep-head-dim", "--batch=2")
    found = document(capsys, *words, "--write=found.toml")
    printed(capsys, "check", "found.toml")
    cases = read_cases(Path("found.toml"))
    assert [case.name for case in cases] == [
        "reference",
        *(
            f"{one['side']}: dim {one['at']['dim']}, heads {one['at']['heads']}"
            for one in found["sizes"]
        ),
    ]
    specs = [one["spec"] for one in (found["reference"], *found["sizes"])]
    assert [case.spec.words() for case in cases] == specs
    compared = document(capsys, "compare", "--specs=found.toml", "--batch=2", "--up-to=224")
    amounts = [model["amounts"] for model in compared["models"]]
    assert amounts == [one["amounts"] for one in (found["reference"], *found["sizes"])]
    assert "found.toml exists and is not overwritten" in said(capsys, *words, "--write=found.toml")
    printed(capsys, *words, "--write=found.toml", "--force")


def test_a_spec_is_what_specify_takes(report: Match) -> None:
    assert report.below is not None
    spec = dict(report.below.model.words())
    model, mixer = spec.pop("model"), spec.pop("mixer")
    assert isinstance(model, str)
    assert isinstance(mixer, str)
    assert subject(model, mixer=mixer, options=spec)[0] == report.below.model


def test_where_nothing_costs_less(capsys: Capture) -> None:
    words = ("match", "--preset=deit-b", "--reference=deit-ti", "--vary=depth", "--by=params")
    out = printed(capsys, *words)
    found = document(capsys, *words)
    assert sizes(found) == [("above", {"depth": 1})]
    assert (
        f"none has less: the least, at depth 1, is {found['sizes'][0]['amounts']['params']:,}"
        in out
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "nothing is varied; give --vary with an option, such as dim"),
        (("--vary=batch",), "batch is of the step, which both models have in common; vary"),
        (("--vary=dims",), "no option to vary named 'dims'; did you mean dim?"),
        (("--vary=pool",), "pool is no number and cannot be varied"),
        (("--vary=dim", "--dim=384"), "dim is varied, so that its value 384 says nothing"),
        (("--vary=dim", "--vary=dim=6:9"), "dim is varied twice; give it once"),
        (("--vary=dim=1:5",), "the range of dim has no value, of which only multiples of 6 can be"),
        (("--vary=dim=9:5",), "the range 9:5 of dim is reversed; give 5:9"),
        (("--vary=dim=0:5",), "dim 0 is out of range"),
        (("--vary=dim=5:x",), "is not a range"),
        (("--vary=mlp-ratio",), "so that its values have to be given: --vary mlp-ratio=2:6:+0.5"),
        (("--vary=dim,depth,heads",), "give ranges, such as --vary dim=64:1024:+64"),
        (
            ("--vary=dim,depth", "--by=memory", "--max-points=99"),
            "and --max-points is 99; give ranges",
        ),
        (("--vary=dim", "--by=flops"), "there is no measure 'flops'"),
        (("--vary=dim", "--by=training_macs", "--inference"), "leave out inference"),
        (("--vary=dim", "--by=batch"), "the largest batch needs a memory budget"),
        (("--vary=dim", "--by=gpu_memory", "--memory=9GiB"), "memory on a GPU needs its name"),
        (("--vary=dim", "--by=batch", "--memory=9MiB"), "not even one image of deit-s"),
        (("--vary=heads", "--keep-head-dim"), "heads has no heads that could follow; vary dim"),
        (("--vary=dim,heads", "--keep-head-dim"), "heads follows dim where the channels of a"),
        (("--vary=dim", "--show=0"), "show 0 is out of range"),
        (("--vary=depth", "--reference=deit-z"), "no preset 'deit-z'"),
        (("--vary=depth", "--reference=deit-s,depth=2,depth=3"), "depth of the reference is given"),
        (("--vary=depth", "--reference=nowhere:x"), "nowhere"),
        (("--vary=depth=3:9", "--positions=global", "--write=no/where.toml"), "no directory no"),
        (("--vary=classes", "--no-head"), "classes 1000 has no effect with no head"),
        (("--vary=dim", "--positions=global", "--receptive-field=7"), "field 7 has no effect with"),
        (("--vary=dim", "--reference=deit-s,mlp=none,mlp_ratio=3"), "mlp ratio 3 has no effect"),
        (("--vary=drop-path=0.1:0.5:+0.1",), "drop path changes nothing in the MACs of deit-s"),
        (("--vary=depth=1:4", "--dim=385"), "dim 385 is not divisible by 6 heads"),
        (("--vary=heads=5,7",), "is defined at none of 2 sizes; at heads 5: dim 384 is not"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], sentence: str, capsys: Capture) -> None:
    assert sentence in said(capsys, *WORDS, *words)


@pytest.mark.parametrize("option", ["heads", "batch"])
def test_a_module_without_a_size_to_vary(capsys: Capture, option: str) -> None:
    module = ("--module=torch.nn:Linear", "--arg=in_features=10", "--arg=out_features=3")
    words = ("match", *module, "--input=10", "--reference=layer", f"--vary={option}")
    assert said(capsys, *words).startswith("the inputs of the module have no size that can be")


def test_an_option_of_the_task_may_have_an_effect_on_the_reference_alone(capsys: Capture) -> None:
    found = document(capsys, *WORDS, "--vary=dim", "--no-head", "--classes=10")
    assert found["reference"]["spec"]["classes"] == 10


def test_a_reference_is_needed(capsys: Capture) -> None:
    line = said(capsys, "match", "--mixer=lambda", "--vary=dim")
    assert "there is no reference, whose cost is to be met; give a preset" in line
    with pytest.raises(SpecError, match="reference is a name, a dict of options or a model"):
        vitprof.match(preset="deit-s", vary="dim", reference=3)  # type: ignore[arg-type]
