"""`vitprof.sweep` and `vitprof sweep`: the values of the points, and their conditions."""

from __future__ import annotations

import json
from functools import partial

import pytest
from commands import Capture, printed, said

import vitprof
from vitprof import specify
from vitprof.allocation.allocator import DoesNotFitError
from vitprof.allocation.largest_batch import largest_batch
from vitprof.allocation.on_gpu import OnGpu, on_gpu
from vitprof.allocation.step import peak_bytes
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.request.workload import Workload
from vitprof.subject import Subject
from vitprof.values.options import plain


def test_sweep_is_what_formulas_say() -> None:
    found = vitprof.sweep(
        workload=Workload(device="cpu", dtype="bf16"),
        mixers=["attn", "lambda", "pool"],
        measures=["params", "macs", "memory", "batch"],
        memory="1000000B",
        dim=8,
        heads=2,
        tokens="4:16:x2",
        batch="1,3",
    )
    assert found.size == len(found.points) == 3 * 3 * 2
    assert [*found.axes.items()] == [("tokens", (4, 8, 16)), ("batch", (1, 3))]
    assert found.curves == ("attn", "lambda", "pool")
    assert found.complaint == ""
    for point in found.points:
        tokens, batch = (int(point.at[name]) for name in ("tokens", "batch"))
        options = {"tokens": tokens, "dim": 8, "heads": 2}
        if point.curve == "pool" and tokens == 8:
            assert set(point.values.values()) == {None}
            assert point.reason.endswith("8 tokens are not a square")
            continue
        model = specify("layer", mixer=point.curve, options=options)
        step = Workload(device="cpu", dtype="bf16", batch=batch)
        assert point.values == {
            "params": model.formula().total(Measure.PARAMS),
            "macs": model.formula(batch).total(Measure.MACS),
            "memory": peak_bytes(model, step),
            "batch": largest_batch(model, step, 10**6),
        }
        assert point.reason == ""


def test_batches_of_a_gpu_are_those_that_fit_it() -> None:
    """One image more does not fit what the GPU has beside its context."""
    found = vitprof.sweep(
        mixers=["attn", "lambda"],
        measures=["batch"],
        gpu="rtx3090",
        torch="2.11",
        dim=8,
        heads=2,
        tokens=(4, 16),
    )
    platform = Platform(gpu=find_gpu("rtx3090"), torch=(2, 11))
    of_gpu = {"budget_bytes": platform.gpu.memory_bytes, "gpu": "GeForce RTX 3090"}
    written = json.loads(found.to_json())["workload"]
    assert written | of_gpu | {"torch": "2.11"} == written
    assert len(found.points) == 4
    for point in found.points:
        options = {"tokens": point.at["tokens"], "dim": 8, "heads": 2}
        model = specify("layer", mixer=point.curve, options=options)
        batch = point.values["batch"]
        assert isinstance(batch, int)
        assert on_gpu_of(model, batch, platform).reserved <= platform.capacity
        with pytest.raises(DoesNotFitError):
            on_gpu_of(model, batch + 1, platform)
        assert batch < largest_batch(model, Workload(), platform.gpu.memory_bytes)


def on_gpu_of(model: Subject, batch: int, platform: Platform) -> OnGpu:
    return on_gpu(model, Workload(batch=batch), platform, capacity=platform.capacity)


def test_options_of_one_mixer_leave_others_as_they_are() -> None:
    found = vitprof.sweep(
        "layer",
        mixers=["attn", "lambda"],
        measures=["params"],
        dim=8,
        heads=2,
        key_depth="2,4",
        tokens="4,8",
    )
    own = {
        curve: [point.values["params"] for point in found.points if point.curve == curve]
        for curve in found.curves
    }
    assert len(own["attn"]) == 4
    assert len(set(own["attn"])) == 1
    # The layer's h k + k more outputs, and its kernel of 81 and a bias for each of k.
    (first, _, second, _) = own["lambda"]
    assert second is not None
    assert first is not None
    more = 2 * (2 + 1)
    norms = 2 * 2 * 2  # gain and bias of h more for each of the 2
    assert second - first == more * (8 + 1) + norms + 2 * (81 + 1)


def test_conditions() -> None:
    over_tokens = partial(vitprof.sweep, "layer", dim=8, tokens="4,8")
    both = ["attn", "linear"]
    found = over_tokens(Workload(batch=3), mixers=both, measures=["macs"])
    assert found.workload == {"batch": 3}
    assert found.spec["dim"] == 8
    assert "tokens" not in found.spec
    assert "mixer" not in found.spec
    # Conditions that both have are printed once.
    assert found.own["attn"]["kv_heads"] == 0
    of_attn = specify("layer", options={"dim": 8}).conditions()
    assert {**found.spec, **found.own["attn"], "mixer": "attn", "tokens": 50} == {
        name: plain(value) for name, value in of_attn.items()
    }
    assert found.conditions == {}
    assert over_tokens(mixers=both, measures=["params"]).workload == {}
    steps = over_tokens(mixers=both, measures=["memory"], dtype="bf16").workload
    assert steps["dtype"] == "bf16"
    alone = over_tokens(mixers=["attn"], measures=["macs"])
    assert alone.spec["mixer"] == "attn"


def test_presets(capsys: Capture) -> None:
    words = ("sweep", "--presets=vit-s-16,mixer-s-16", "--image-size=224,256", "--y=params,macs")
    document = json.loads(printed(capsys, *words, "--format=json"))
    assert document["curves"] == ["vit-s-16", "mixer-s-16"]
    for point in document["points"]:
        options = {"preset": point["curve"], "image_size": point["at"]["image_size"]}
        formula = specify(options=options).formula()
        assert point["values"] == {
            "params": formula.total(Measure.PARAMS),
            "macs": formula.total(Measure.MACS),
        }
    changed = ("sweep", "--preset=vit-s-16", "--mixers=attn,lambda", "--dim=384,768", "--y=params")
    document = json.loads(printed(capsys, *changed, "--format=json"))
    assert document["spec"]["preset"] == "vit-s-16"
    assert document["points"][0]["values"]["params"] == 22_050_664  # as published
    linear = ("sweep", "--presets=vit-s-16", "--mixer=linear", "--dim=384,768", "--y=macs")
    document = json.loads(printed(capsys, *linear, "--format=json"))
    model = specify(mixer="linear", options={"preset": "vit-s-16", "dim": 384})
    assert document["points"][0]["values"]["macs"] == model.formula().total(Measure.MACS)
    assert "no preset 'vit-s'" in said(capsys, "sweep", "--presets=vit-s", "--dim=384,768")


def test_values_none_of_which_fits() -> None:
    with pytest.raises(SpecError, match="dim 10 is not divisible by 4 heads"):
        vitprof.sweep("layer", heads=4, dim="10,11")
    first, second = vitprof.sweep("layer", measures=["macs"], heads=4, dim="10,12").points
    assert (first.values, second.reason) == ({"macs": None}, "")
    assert first.reason.startswith("dim 10 is not divisible by 4 heads")


def test_a_sweep_from_python() -> None:
    """One encoder layer of width 12: 12 N D^2 + 2 N^2 D; linear attention has another product."""
    D, d = 12, 4
    found = vitprof.sweep(
        "layer", mixers=["attn", "linear"], measures=["macs"], tokens=(8, 64), dim=D, heads=3
    )
    assert [(point.curve, point.at["tokens"], point.values["macs"]) for point in found.points] == [
        ("attn", 8, 8 * 12 * D**2 + 2 * 8**2 * D),
        ("attn", 64, 64 * 12 * D**2 + 2 * 64**2 * D),
        ("linear", 8, 8 * 12 * D**2 + 2 * 8 * D * d + 8 * D),
        ("linear", 64, 64 * 12 * D**2 + 2 * 64 * D * d + 64 * D),
    ]


def test_a_sweep_over_the_batch_from_python() -> None:
    found = vitprof.sweep("layer", measures=["macs", "memory"], batch="2:4:+1", dtype="bf16")
    assert found.axes == {"batch": (2, 3, 4)}
    assert found.workload["dtype"] == "bf16"
    by_formula = [
        peak_bytes(vitprof.specify("layer"), Workload(batch=batch, dtype="bf16"))
        for batch in (2, 3, 4)
    ]
    assert [point.values["memory"] for point in found.points] == by_formula


def test_a_sweep_of_presets_with_one_mixer_from_python() -> None:
    found = vitprof.sweep(
        presets=["vit-s-16"], mixer="linear", measures=["macs"], image_size=(224, 256)
    )
    by_formula = [
        specify(mixer="linear", options={"preset": "vit-s-16", "image_size": size})
        .formula()
        .total(Measure.MACS)
        for size in (224, 256)
    ]
    assert [point.values["macs"] for point in found.points] == by_formula
