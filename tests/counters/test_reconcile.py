"""Each tool's reading is predicted exactly by its convention, and by no other convention.

Sizes are small, odd and unequal. A figure of the classifier's report is compared with its
derivation.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import for_each
from hypothesis import given, settings
from hypothesis import strategies as st
from reconciled import broken, check_adds_up, macs, read
from spellings import SOME, Spelling
from torch import nn
from torch.utils.flop_counter import flop_registry
from torchinfo.layer_info import LayerInfo

import vitprof
from vitprof.cli import run
from vitprof.counters import TOOLS
from vitprof.counters.convention import Setting
from vitprof.counters.flop_counter_mode import counts_fused_attention
from vitprof.counters.fvcore import knows_fused_attention
from vitprof.counters.parts import each_tensor_once, formula_parts, module_parts
from vitprof.counters.read import read_params
from vitprof.counters.reading import Reading
from vitprof.counters.reconcile import Difference, Mismatch, reconcile_macs, reconcile_params
from vitprof.counters.torchinfo import counts_tokens
from vitprof.formats import ANY, Format
from vitprof.formulas.layer import Measure
from vitprof.formulas.parts import norms
from vitprof.formulas.work import Work
from vitprof.modules.build import build
from vitprof.report.counts import Counts
from vitprof.report.verdict import verdict
from vitprof.request.specs import specify

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its import warns of a deprecated torch.jit
    fvcore_handlers = import_module("fvcore.nn.flop_count")._DEFAULT_SUPPORTED_OPS
    fvcore_shape = import_module("fvcore.nn.jit_handles").get_shape

SETTINGS = [
    Setting(device=device, train=train, grad=grad)
    for device, train, grad in product(("meta", "cpu"), (False, True), (False, True))
]

every_tool = pytest.mark.parametrize("tool", TOOLS)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Run on one thread: at small sizes more threads only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SPECS = {spelling: spelling.specify() for spelling in SOME}
every_spelling = for_each("spelling", SOME)


# The matrix.


def cases(place: int, spelling: Spelling) -> list[tuple[int, Setting]]:
    """Return batches and settings: all settings for the reports' mixers in a layer, else in turn.

    Over all spellings each setting meets each batch.
    """
    turns = range(place, place + 1)
    if spelling.model == "layer" and spelling.mixer in ("attn", "lambda", "linear"):
        turns = range(len(SETTINGS)) if spelling.variant in ((), (("fused", True),)) else turns
    batches = (1, 3)
    number = len(SETTINGS)
    return [(batches[(place // number + turn) % 2], SETTINGS[turn % number]) for turn in turns]


# What is computed once for all images.
MADE_ONCE = {
    *(("factorised", True), ("relative", "mlp"), ("relative", "bounded")),
    ("window_relative", "mlp"),
}


@pytest.mark.parametrize(("place", "spelling"), list(enumerate(SOME)), ids=str)
def test_every_reading_is_explained_and_the_count_does_not_move(
    place: int, spelling: Spelling
) -> None:
    spec = SPECS[spelling]
    one, three = (spec.formula(batch).total(Measure.MACS) for batch in (1, 3))
    for batch, setting in cases(place, spelling):
        report = macs(spec, batch, setting)
        check_adds_up(report)
        assert report.total == {1: one, 3: three}[batch]
    if MADE_ONCE.intersection(spelling.variant):
        assert one < three < 3 * one
    else:
        assert three == 3 * one


@every_spelling
def test_every_parameter_is_explained(spelling: Spelling) -> None:
    report = vitprof.params(SPECS[spelling])
    check_adds_up(report)
    assert report.counters == dict.fromkeys(TOOLS, report.total)


# Nothing but the convention explains a reading.


def as_reading(read: object) -> Reading:
    assert isinstance(read, Reading)
    return read


@pytest.mark.parametrize(
    "setting", [Setting(), Setting(device="cpu", train=True)], ids=["eval", "train"]
)
def test_no_coefficient_of_a_convention_can_be_another(setting: Setting) -> None:
    """Of the models, those are read that have a coefficient which no model before has."""
    conventions = {tool: counter.convention(setting) for tool, counter in TOOLS.items()}
    ruled: dict[str, set[Work]] = {tool: set() for tool in TOOLS}
    seen: set[tuple[str, Work, str]] = set()
    normed = [specify("layer", options={"tokens": 7, "norm": norm}) for norm in norms.NORMS]
    for spec in (*SPECS.values(), *normed):
        tree = spec.formula(3)
        wrong = {
            (tool, kind, cause): other
            for tool, convention in conventions.items()
            for kind, cause, other in broken(tree, convention)
        }
        if seen.issuperset(wrong):
            continue
        seen.update(wrong)
        readings = read(spec, setting)
        for tool, convention in conventions.items():
            assert reconcile_macs(tree, convention, as_reading(readings[tool])).explained, tool
        for (tool, kind, cause), other in wrong.items():
            difference = reconcile_macs(tree, other, as_reading(readings[tool]))
            assert not difference.explained, (tool, kind, cause)
            assert difference.unexplained, (tool, kind, cause)
            assert difference.mismatches, (tool, kind, cause)
            ruled[tool] |= {kind} if cause else set()
    for tool, counter in TOOLS.items():
        # Of these, tests/captured has modules: vitprof's own make no such calls.
        of_modules = {Work.CALL, *([Work.CONV] if tool == "fvcore" else [])}
        tested = counter.convention(setting).rules.keys() - of_modules
        assert ruled[tool] == tested, f"a rule of {tool} says nothing of any model: none tests it"


@every_tool
def test_no_other_way_to_count_parameters_explains_a_reading(tool: str) -> None:
    counter, spec = TOOLS[tool], SPECS[Spelling("mae", "lambda", ())]
    reading = read_params([counter], spec, say=lambda message: None)[tool]
    assert isinstance(reading, Reading)

    def five_more(parts: Any) -> int:
        return counter.predict_params(parts) + 5

    def reconciled(reading: Reading) -> Difference:
        return reconcile_params(spec.formula(), replace(counter, predict_params=five_more), reading)

    assert reconciled(reading).unexplained == -5
    after = reconciled(replace(reading, total=reading.total + 5))
    assert after.explained
    assert [cause.amount for cause in after.causes] == [5]


# The classifier report's encoder layer, batch 100, 50 tokens, dim 64, 4 heads of 16, MLP 256.

TRUE = 277_760_000
PRODUCTS = 100 * 4 * 50 * (16 * 50) + 100 * 4 * 50 * (50 * 16)
WEIGHTS = {"mixer.qkv": 64 * 192, "mixer.fc_out": 64 * 64, "mlp.fc1": 64 * 256, "mlp.fc2": 256 * 64}
BIASES = {"mixer.qkv": 192, "mixer.fc_out": 64, "mlp.fc1": 256, "mlp.fc2": 64}
NORMS = ("norm1", "norm2")

TOKENS_IGNORED = "token axis of Linear ignored"
UNSEEN = "products of activations have no weights"
IMAGES_ONLY = {path: 100 * weights - 100 * 50 * weights for path, weights in WEIGHTS.items()}


def causes_of(report: Counts) -> dict[str, dict[str, int]]:
    return {
        tool: {cause.cause: cause.amount for cause in difference.causes}
        for tool, difference in report.differences.items()
    }


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("fused", [False, True])
def test_the_causes_of_one_encoder_layer(fused: bool, device: str) -> None:
    report = vitprof.macs("layer", batch=100, tokens=50, fused=fused, device=device)
    check_adds_up(report)
    assert report.total == TRUE
    unregistered = fused and device == "cpu"
    assert causes_of(report) == {
        "torchinfo": {
            TOKENS_IGNORED: -(TRUE - 32_000_000) + 100 * (64 * 192 + 64 * 64 + 64 * 256 + 256 * 64),
            UNSEEN: -32_000_000,
            "biases of Linear": 100 * (192 + 64 + 256 + 64),
            "weights and biases of norms": 100 * 2 * 128,
        },
        "fvcore": {"LayerNorm, 5 per element": 2 * 5 * 100 * 50 * 64}
        | ({"fused attention has no rule": -PRODUCTS} if fused else {}),
        "torch": {"the fused kernel of this device is not registered": -PRODUCTS}
        if unregistered
        else {},
    }
    assert report.counters == {
        "torchinfo": 4_998_400,
        "fvcore": 248_960_000 if fused else 280_960_000,
        "torch": 245_760_000 if unregistered else 277_760_000,
    }


def test_where_the_causes_of_one_encoder_layer_lie() -> None:
    paths = {
        (tool, cause.cause): cause.paths
        for tool, difference in vitprof.macs("layer", batch=100, tokens=50).differences.items()
        for cause in difference.causes
    }
    one_product = 100 * 4 * 50 * (16 * 50)
    assert paths == {
        ("torchinfo", TOKENS_IGNORED): IMAGES_ONLY,
        ("torchinfo", UNSEEN): {"mixer.scores": -one_product, "mixer.output": -one_product},
        ("torchinfo", "biases of Linear"): {path: 100 * out for path, out in BIASES.items()},
        ("torchinfo", "weights and biases of norms"): dict.fromkeys(NORMS, 100 * 128),
        ("fvcore", "LayerNorm, 5 per element"): dict.fromkeys(NORMS, 5 * 100 * 50 * 64),
    }


def test_equal_blocks_share_a_path_and_count_each() -> None:
    (cause,) = vitprof.macs("classifier", batch=3, counters=["fvcore"]).differences["fvcore"].causes
    four_blocks = 4 * (5 * 3 * 50 * 64)
    last = 5 * 3 * 64  # of the class token alone
    assert cause.paths == {
        "blocks.0-3.norm1": four_blocks,
        "blocks.0-3.norm2": four_blocks,
        "norm": last,
    }


# An unexplained remainder is reported.


def doctor(monkeypatch: Patch, tool: str, change: Callable[[Reading], Reading]) -> None:
    """Make a tool return another reading."""
    counter = TOOLS[tool]

    def doctored(read: Callable[..., Reading], *given: object) -> Reading:
        return change(read(*given))

    changed = replace(
        counter, params=partial(doctored, counter.params), macs=partial(doctored, counter.macs)
    )
    monkeypatch.setitem(TOOLS, tool, changed)


def five_in_total(reading: Reading) -> Reading:
    return replace(reading, total=reading.total + 5)


def five_in_a_submodule(reading: Reading) -> Reading:
    return replace(reading, by_path={**reading.by_path, "mlp.fc1": reading.by_path["mlp.fc1"] + 5})


every_command = pytest.mark.parametrize("command", ["params", "macs"])


def unexplained(capsys: Capture, command: str, *words: str) -> list[list[str]]:
    """Return the lines on unexplained differences; a command that prints any exits with 1."""
    code = run([command, "--tokens=7", *words])
    out, err = capsys.readouterr()
    assert (code, err) == (1, "")
    return [line.split() for line in out.splitlines() if "UNEXPLAINED" in line]


@every_command
@every_tool
def test_a_total_that_is_off_is_loud(
    capsys: Capture, monkeypatch: Patch, tool: str, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    doctor(monkeypatch, tool, five_in_total)
    (verdict,) = unexplained(capsys, command)
    assert (verdict[0], verdict[-2:]) == (tool, ["+5", "UNEXPLAINED"])
    assert unexplained(capsys, command, "--why") == [verdict, [tool, "UNEXPLAINED", "+5"]]


def test_the_innermost_mismatches_are_those_that_others_contain() -> None:
    def off(path: str) -> Mismatch:
        return Mismatch(path=path, reading=1, predicted=0)

    everywhere = tuple(map(off, ("", "mixer", "mixer.reduce", "mixer.expand", "mix", "head")))
    difference = Difference(count=0, reading=1, causes=(), mismatches=everywhere)
    inner = ("mixer.reduce", "mixer.expand", "mix", "head")
    assert difference.innermost == tuple(map(off, inner))
    assert verdict(difference).endswith("in 4 modules: mixer.reduce reads 1, predicted 0")
    alone = Difference(count=0, reading=1, causes=(), mismatches=(off(""),))
    assert verdict(alone).endswith("in 1 module: the model reads 1, predicted 0")


@every_command
@every_tool
def test_a_submodule_that_is_off_is_loud(
    capsys: Capture, monkeypatch: Patch, tool: str, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    doctor(monkeypatch, tool, five_in_a_submodule)
    (verdict,) = unexplained(capsys, command)
    seen = {"params": 64 * 256 + 256, "macs": 7 * 64 * 256}[command]
    if (command, tool) == ("macs", "torchinfo"):
        seen = 64 * 256 + 256
    assert verdict[0] == tool
    assert verdict[-5:] == ["mlp.fc1", "reads", f"{seen + 5:,},", "predicted", f"{seen:,}"]
    assert unexplained(capsys, command, "--why") == [
        verdict,
        [tool, "UNEXPLAINED", "mlp.fc1", "+5"],
    ]


@every_command
@every_tool
def test_json_holds_what_is_unexplained(
    capsys: Capture, monkeypatch: Patch, tool: str, command: str
) -> None:
    def difference() -> dict[str, Any]:
        run([command, "--tokens=7", "--format=json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)["differences"][tool]
        return found

    honest = difference()
    assert honest["reading"] == honest["predicted"]
    assert (honest["unexplained"], honest["mismatches"]) == (0, [])
    with monkeypatch.context() as patch:
        doctor(patch, tool, five_in_total)
        assert difference() == {**honest, "reading": honest["reading"] + 5, "unexplained": 5}
    doctor(monkeypatch, tool, five_in_a_submodule)
    doctored = difference()
    (mismatch,) = doctored.pop("mismatches")
    assert {**doctored, "mismatches": []} == honest
    assert (mismatch["path"], mismatch["reading"] - mismatch["predicted"]) == ("mlp.fc1", 5)


@pytest.mark.parametrize("off", [five_in_total, five_in_a_submodule])
@pytest.mark.parametrize("format", ANY)
def test_every_format_exits_with_1(
    capsys: Capture,
    monkeypatch: Patch,
    tmp_path: Path,
    format: Format,
    off: Callable[[Reading], Reading],
) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # as wide as a file
    words = ["macs", "--tokens=7", "--counters=torch", f"--format={format}"]
    file = tmp_path / "report"
    complaint = "vitprof: the count of torch is not explained; --why lists the causes\n"
    to_file = [*words, f"--output={file}"]
    assert run(to_file) == 0
    assert capsys.readouterr().err == ""
    file.unlink()
    doctor(monkeypatch, "torch", off)
    assert run(to_file) == 1
    assert capsys.readouterr() == ("", complaint)
    assert b"fc1" in file.read_bytes()
    if format is not Format.PARQUET:  # which is no text for a terminal
        assert run(words) == 1
        out, err = capsys.readouterr()
        assert out.encode() == file.read_bytes()
        assert err == ("" if format.for_people else complaint)


# Current behaviour of each tool, and vitprof's output if that changes.


@pytest.mark.parametrize(
    ("probe", "today", "news"),
    [
        (
            counts_tokens,
            False,
            "torchinfo multiplies a Linear with its tokens now, and its predictions follow: "
            "correct its published readings (README, test_counters), and turn this line round",
        ),
        (
            knows_fused_attention,
            False,
            "fvcore has a rule for scaled_dot_product_attention now, and its predictions follow: "
            "correct its published readings (README, test_counters), and turn this line round",
        ),
        (
            partial(counts_fused_attention, "cpu"),
            False,
            "torch counts the CPU's fused attention now, and its predictions follow: correct its "
            "published readings (README, test_counters), and turn this line round",
        ),
        (
            partial(counts_fused_attention, "meta"),
            True,
            "torch no longer counts fused attention on the meta device, and its predictions "
            "follow: say so in the README, and turn this line round",
        ),
    ],
)
def test_the_tools_are_as_they_were(probe: Callable[[], bool], today: bool, news: str) -> None:
    assert probe() is today, news


def torchinfo_sees_tokens(monkeypatch: Patch) -> None:
    """Count as torchinfo's development version: a Linear's parameters by all axes but the last."""
    calculate = LayerInfo.calculate_macs

    def calculate_macs(self: LayerInfo) -> None:
        if isinstance(self.module, nn.Linear):
            self.macs += prod(self.output_size[:-1]) * self.num_params
        else:
            calculate(self)

    monkeypatch.setattr(LayerInfo, "calculate_macs", calculate_macs)


def fvcore_knows_fused_attention(monkeypatch: Patch) -> None:
    def flops(inputs: list[Any], outputs: list[Any]) -> int:
        (batch, heads, queries, width), keys = fvcore_shape(inputs[0]), fvcore_shape(inputs[1])[2]
        return int(2 * batch * heads * queries * keys * width)

    monkeypatch.setitem(fvcore_handlers, "aten::scaled_dot_product_attention", flops)


def torch_registers_the_cpu_kernel(monkeypatch: Patch) -> None:
    aten = torch.ops.aten
    registered = flop_registry[aten._scaled_dot_product_flash_attention]
    kernel = aten._scaled_dot_product_flash_attention_for_cpu
    monkeypatch.setitem(flop_registry, kernel, registered)


Change = Callable[[Patch], None]
every_change = pytest.mark.parametrize(
    ("change", "probe", "tool", "reading"),
    [
        (
            torchinfo_sees_tokens,
            counts_tokens,
            "torchinfo",
            TRUE - PRODUCTS + 100 * 50 * sum(BIASES.values()) + 100 * 2 * 128,
        ),
        (fvcore_knows_fused_attention, knows_fused_attention, "fvcore", TRUE + 5 * 100 * 50 * 128),
        (
            torch_registers_the_cpu_kernel,
            partial(counts_fused_attention, "cpu"),
            "torch",
            TRUE,
        ),
    ],
    ids=["torchinfo", "fvcore", "torch"],
)


@every_change
def test_a_tool_that_was_changed_is_recognised(
    monkeypatch: Patch, change: Change, probe: Callable[[], bool], tool: str, reading: int
) -> None:
    before = vitprof.macs("layer", batch=100, tokens=50, fused=True, device="cpu")
    change(monkeypatch)
    assert probe()
    after = vitprof.macs("layer", batch=100, tokens=50, fused=True, device="cpu")
    check_adds_up(after)
    assert before.counters != after.counters == {**before.counters, tool: reading}
    assert after.total == TRUE


@every_change
def test_a_tool_that_was_changed_is_still_explained(
    monkeypatch: Patch, change: Change, probe: Callable[[], bool], tool: str, reading: int
) -> None:
    change(monkeypatch)
    # Fused attention and linear layers are what changes: each model of it, some of the others.
    fused = [spelling for spelling in SOME if ("fused", True) in spelling.variant]
    for spelling in {*fused, *SOME[::3]}:
        check_adds_up(macs(SPECS[spelling], 3, Setting(device="cpu"), [tool]), [tool])


@every_change
def test_a_change_that_is_not_recognised_is_loud(
    monkeypatch: Patch, change: Change, probe: Callable[[], bool], tool: str, reading: int
) -> None:
    old = TOOLS[tool].convention(Setting(device="cpu"))
    change(monkeypatch)
    monkeypatch.setitem(TOOLS, tool, replace(TOOLS[tool], convention=lambda setting: old))
    report = vitprof.macs("layer", batch=100, tokens=50, fused=True, device="cpu")
    assert not report.explained
    assert report.differences[tool].unexplained
    assert report.differences[tool].mismatches


# Parameters that a tool meets again.


def around(*modules: nn.Module, raw: int = 0) -> nn.Module:
    """A module with submodules, and `raw` elements that it holds directly."""
    module = nn.Module()
    for place, inner in enumerate(modules):
        module.add_module("m" * (place + 1), inner)
    if raw:
        module.register_parameter("raw", nn.Parameter(torch.zeros(raw)))
    return module


def fc() -> nn.Linear:
    """Return a linear layer of 15 weights and 5 biases."""
    return nn.Linear(3, 5)


def tied() -> tuple[nn.Linear, nn.Linear]:
    """Return two linear layers that share their 15 weights."""
    one, other = fc(), fc()
    other.weight = one.weight
    return one, other


def frozen() -> nn.Module:
    return around(fc(), raw=7).requires_grad_(False)


def twice(module: nn.Module) -> nn.Module:
    return around(module, module)


def met_again_in_another() -> nn.Module:
    inner = around(fc(), raw=7)
    return around(inner, around(inner, raw=11))


def raw_that_is_a_weight() -> nn.Module:
    inner = fc()
    module = around(inner)
    module.register_parameter("raw", inner.get_parameter("weight"))
    return module


def one_raw_in_two() -> nn.Module:
    one, other = around(fc(), raw=7), around(fc())
    other.register_parameter("raw", one.get_parameter("raw"))
    return around(one, other)


FC = 15 + 5
TIED = 2 * FC  # as the two leaves have it
ALL_OF_TIED = 15 + 2 * 5  # as the module around them has it


@pytest.mark.parametrize(
    ("module", "once", "by_torchinfo"),
    [
        (nn.Module(), 0, 0),
        (fc(), FC, FC),
        (frozen(), FC + 7, FC + 7),
        (around(around(fc(), raw=7), raw=11), FC + 7 + 11, FC + 7 + 11),
        # One module in two places counts in the first alone.
        (twice(fc()), FC, FC),
        (twice(around(fc(), raw=7)), FC + 7, FC + 7),
        (twice(twice(around(fc(), raw=7))), FC + 7, FC + 7),
        # But one around it that is met for the first time has all of it left over.
        (met_again_in_another(), FC + 7 + 11, FC + 7 + (FC + 7 + 11)),
        # One tensor in two leaves counts in both for torchinfo.
        (around(*tied()), ALL_OF_TIED, TIED),
        (around(fc(), *tied()), FC + ALL_OF_TIED, FC + TIED),
        (twice(around(*tied())), ALL_OF_TIED, TIED),
        # What the module around them holds beyond them is 25 + 7 - 40: nothing; 25 + 17 - 40: 2.
        (around(*tied(), raw=7), ALL_OF_TIED + 7, TIED),
        (around(*tied(), raw=17), ALL_OF_TIED + 17, TIED + 2),
        # The inner one's 25 - 40 counts nothing, and yet leaves the outer one its 7.
        (around(around(*tied()), raw=7), ALL_OF_TIED + 7, TIED + 7),
        (raw_that_is_a_weight(), FC, FC),
        (one_raw_in_two(), 2 * FC + 7, 2 * FC + 2 * 7),
    ],
)
def test_parameters_met_again(module: nn.Module, once: int, by_torchinfo: int) -> None:
    expected = {"torchinfo": by_torchinfo, "fvcore": once, "torch": once}
    assert {name: tool.params(module).total for name, tool in TOOLS.items()} == expected
    assert {
        name: tool.predict_params(module_parts(module)) for name, tool in TOOLS.items()
    } == expected


@st.composite
def modules(draw: st.DrawFn) -> nn.Module:
    """A module of modules, any of which, and any tensor, may stand in several places."""
    tensors = [nn.Parameter(torch.zeros(size)) for size in (1, 2, 5, 11, 23)]
    made: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 6))):
        module = nn.Module()
        for place, tensor in enumerate(draw(st.lists(st.sampled_from(tensors), max_size=3))):
            module.register_parameter(f"p{place}", tensor)
        inner = st.lists(st.sampled_from(made), max_size=3) if made else st.just([])
        for place, submodule in enumerate(draw(inner)):
            module.add_module("m" * (place + 1), submodule)
        made.append(module)
    return made[-1]


@every_tool
@settings(max_examples=100, deadline=None)
@given(module=modules())
def test_whatever_is_met_again(tool: str, module: nn.Module) -> None:
    parts = module_parts(module)
    assert TOOLS[tool].params(module).total == TOOLS[tool].predict_params(parts)
    assert each_tensor_once(parts) == sum(tensor.numel() for tensor in module.parameters())


@every_spelling
def test_a_model_has_the_same_parts_on_paper(spelling: Spelling) -> None:
    spec = SPECS[spelling]
    paper = [(part.path, sum(part.tensors.values())) for part in formula_parts(spec.formula())]
    running = [
        (part.path, sum(part.tensors.values())) for part in module_parts(build(spec, device="meta"))
    ]
    there = {path for path, _ in paper}
    assert [part for part in running if part[0] in there] == paper
    assert [part for part in running if part[0] not in there and part[1]] == []
    assert each_tensor_once(formula_parts(spec.formula())) == sum(size for _, size in paper)
