"""Tools that are extras: their readings by rules, live, when they fail and when they are absent."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from importlib import import_module
from itertools import islice
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import pytest
import threads
import torch
from combinations import cases
from commands import Capture
from extras import every_extra, installed, needs
from reconciled import broken, check_adds_up, macs
from spellings import SPELLINGS
from torch import Tensor, nn
from torch.nn import functional as F

import vitprof
from vitprof.cli import run
from vitprof.counters import EXTRAS, KNOWN, NAMES, TOOLS, find_tools
from vitprof.counters.convention import Setting
from vitprof.counters.parts import module_parts
from vitprof.counters.reading import Reading
from vitprof.counters.reconcile import reconcile_macs
from vitprof.counters.restored import restored
from vitprof.formulas.model import Model
from vitprof.formulas.work import Work
from vitprof.modules.build import build
from vitprof.request.specs import specify

one_thread = threads.one_thread

# What the tools said when they were called on the module on a CPU, in eval mode and without
# gradients: thop 0.1.1.post2209072238, torchprofile 0.1.0, ptflops 0.7.5 (each backend, with inputs
# by name), calflops 0.3.2, DeepSpeed 0.19.8; PyTorch 2.13.0. Linear attention has two calls of
# `F.elu` a layer, fused attention one of `F.scaled_dot_product_attention`.
LAYER: dict[str, Any] = {"tokens": 50, "dim": 64, "heads": 4}
MAE: dict[str, Any] = {
    **{"image_size": 32, "patch_size": 8, "dim": 64, "depth": 2, "heads": 4},
    **{"decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 4},
}
SIZES = {"layer": (LAYER, 3), "classifier": ({"depth": 4, "dim": 64}, 2), "mae": (MAE, 2)}


class Said(NamedTuple):
    """Readings of one model."""

    true: int
    thop: int
    torchprofile: int
    ptflops: int
    aten: int
    calflops: int
    deepspeed: int


ELU = {"layer": 2 * 3 * 50 * 64, "classifier": 4 * 2 * 2 * 50 * 64}
ELU["mae"] = 2 * 2 * 2 * (4 + 1) * 64 + 2 * 2 * 17 * 32  # 4 of 16 patches are kept

SAID = {
    ("layer", "attn"): Said(8332800, 7539000, 8361600, 7585200, 8419200, 7372800, 8332800),
    ("layer", "fused"): Said(8332800, 7449600, 8352000, 7555200, 7459200, 7372800, 8332800),
    ("layer", "lambda"): Said(9292800, 9079152, 9324003, 9170400, 9393600, 8947200, 9292800),
    ("layer", "linear"): Said(
        *(7689600, 7449600, 7708800, 7555200 + ELU["layer"], 7776000, 7372800, 7689600)
    ),
    ("classifier", "attn"): Said(
        *(22322432, 20206144, 22399362, 20335252, 22559124, 19762432, 22322432)
    ),
    ("classifier", "fused"): Said(
        *(22322432, 19967744, 22373762, 20255252, 19999124, 19762432, 22322432)
    ),
    ("classifier", "lambda"): Said(
        *(24882432, 24313216, 24965774, 24562452, 25157524, 23960832, 24882432)
    ),
    ("classifier", "linear"): Said(
        *(20607232, 19967744, 20658562, 20255252 + ELU["classifier"]),
        *(20843924, 19762432, 20607232),
    ),
    ("mae", "attn"): Said(1671808, 1655792, 1680706, 1675992, 1697664, 1622016, 1671808),
    ("mae", "fused"): Said(1671808, 1647872, 1678338, 1673280, 1647872, 1622016, 1671808),
    ("mae", "lambda"): Said(2226176, 2185472, 2236763, 2206064, 2256944, 2140928, 2226176),
    ("mae", "linear"): Said(
        *(1682752, 1647872, 1689282, 1673280 + ELU["mae"], 1708608, 1622016, 1682752)
    ),
}
NAMED = dict(zip(EXTRAS, Said._fields[1:], strict=True))


def model_of(name: str, mixer: str) -> tuple[Model, int]:
    options, batch = SIZES[name]
    fused = {"fused": True} if mixer == "fused" else {}
    mixer = "attn" if mixer == "fused" else mixer
    return specify(name, mixer=mixer, options={**options, **fused}), batch


@pytest.mark.parametrize(("name", "mixer"), SAID)
def test_the_rules_predict_what_the_tools_said(name: str, mixer: str) -> None:
    spec, batch = model_of(name, mixer)
    tree, setting, said = spec.formula(batch), Setting(device="cpu"), SAID[name, mixer]
    for tool, field in NAMED.items():
        convention = EXTRAS[tool].convention(setting)
        predicted = reconcile_macs(tree, convention, Reading(total=0, by_path={})).predicted
        # The rules do not know of products of sizes, which torchprofile lists by itself.
        of_sizes = getattr(said, field) - predicted
        assert of_sizes == (OF_SIZES[name, mixer] if tool == "torchprofile" else 0), tool


# Products of two sizes in a forward pass: two of patches, three of a layer of lambda.
OF_SIZES = {
    (name, mixer): 2 * (name != "layer") + (3 * blocks if mixer == "lambda" else 0)
    for (name, mixer), blocks in {
        one: {"layer": 1, "classifier": 4, "mae": 3}[one[0]] for one in SAID
    }.items()
}


@pytest.mark.parametrize(("name", "mixer"), [*SAID][::3])
def test_the_tools_say_what_they_said(name: str, mixer: str) -> None:
    spec, batch = model_of(name, mixer)
    tools, said = installed(), SAID[name, mixer]
    report = macs(spec, batch, Setting(device="cpu"), tools)
    check_adds_up(report, tools)
    assert report.total == said.true
    assert report.counters == {tool: getattr(said, NAMED[tool]) for tool in tools}


def test_random_combinations_of_options_are_explained() -> None:
    tools, random = installed(), Random(19)
    for spec, _ in islice(cases(19), 6):
        setting = Setting(
            device=random.choice(("meta", "cpu")), train=random.random() < 0.5, grad=True
        )
        check_adds_up(macs(spec, 3, setting, tools), tools)
        weighed = vitprof.params(spec, counters=tools)
        assert weighed.explained
        assert weighed.unavailable.keys() <= {"torchprofile"}


def test_every_mixer_is_explained() -> None:
    tools = [tool for tool in installed() if tool in ("torchprofile", "ptflops")]
    for spelling in SPELLINGS:
        if not spelling.variant and spelling.model == "layer":
            check_adds_up(macs(spelling.specify(), 3, Setting(), tools), tools)


RULED: list[tuple[str, dict[str, Any]]] = [
    ("attn", {"fused": True, "norm": "batch", "activation": "silu", "layer_scale": True}),
    ("lambda", {"norm": "affine", "activation": "gelu"}),
    ("linear", {"mlp": "gated", "drop_path": "0.1"}),
    ("nystrom", {"landmarks": 3}),
    ("filter", {}),
    ("pool", {}),
    ("pool", {"norm": "group"}),
    ("mamba", {}),
    ("sra", {"sra_pool": 2}),
]


AS_ON_PAPER = {
    "thop": (Work.LINEAR, Work.CONV),
    "torchprofile": (Work.CONV,),
    "calflops": (Work.LINEAR, Work.CONV),
    "deepspeed": (Work.LINEAR, Work.CONV, Work.MATMUL, Work.FUSED_ATTENTION),
}


@every_extra
def test_no_coefficient_can_be_another(tool: str) -> None:
    setting = Setting(device="cpu", train=True)
    convention, ruled = EXTRAS[tool].convention(setting), set()
    specs = [
        specify("layer", mixer=mixer, options={"tokens": 9, "dim": 12, "heads": 3, **options})
        for mixer, options in RULED
    ]
    specs.append(specify("mae", options={**MAE, "dim": 16, "depth": 1, "decoder_dim": 16}))
    for spec in specs:
        (reading,) = vitprof_readings(spec, tool, setting)
        tree = spec.formula(3)
        assert reconcile_macs(tree, convention, reading).explained
        for kind, cause, wrong in broken(tree, convention):
            difference = reconcile_macs(tree, wrong, reading)
            assert difference.unexplained, (kind, cause)
            assert difference.mismatches, (kind, cause)
            ruled |= {kind} if cause else set()
    # Called functions are of captured modules, and so are contractions that are seen on paper.
    of_modules = {Work.CALL, *AS_ON_PAPER.get(tool, ())}
    assert ruled == convention.rules.keys() - of_modules


def vitprof_readings(spec: Model, tool: str, setting: Setting) -> Iterator[Reading]:
    module = build(spec).train(setting.train).requires_grad_(False)
    with restored(module), redirect_stdout(io.StringIO()):
        yield EXTRAS[tool].macs(module, torch.zeros(spec.input_shape(3)))


# The tools as a user calls them.


def by_thop(module: nn.Module, x: Tensor) -> tuple[int, int]:
    counted, parameters = import_module("thop").profile(module, inputs=(x,), verbose=False)
    return int(counted), int(parameters)


def by_torchprofile(module: nn.Module, x: Tensor) -> tuple[int, int]:
    return import_module("torchprofile").profile_macs(module, x), 0


def by_ptflops(module: nn.Module, x: Tensor, backend: str = "pytorch") -> tuple[int, int]:
    found: tuple[int, int] = import_module("ptflops").get_model_complexity_info(
        *(module, (1,), False, False),
        input_constructor=lambda shape: {"x_BND": x},
        backend=backend,
    )
    return found


def by_ptflops_aten(module: nn.Module, x: Tensor) -> tuple[int, int]:
    return by_ptflops(module, x, "aten")


def by_calflops(module: nn.Module, x: Tensor) -> tuple[int, int]:
    _, counted, parameters = import_module("calflops").calculate_flops(
        module, args=[x], print_results=False, output_as_string=False
    )
    return counted, parameters


def by_deepspeed(module: nn.Module, x: Tensor) -> tuple[int, int]:
    profiler = import_module("deepspeed.profiling.flops_profiler")
    _, counted, parameters = profiler.get_model_profile(
        module, args=[x], print_profile=False, as_string=False
    )
    return counted, parameters


DIRECTLY: dict[str, Callable[[nn.Module, Tensor], tuple[int, int]]] = {
    "thop": by_thop,
    "torchprofile": by_torchprofile,
    "ptflops": by_ptflops,
    "ptflops-aten": by_ptflops_aten,
    "calflops": by_calflops,
    "deepspeed": by_deepspeed,
}


@every_extra
def test_a_reading_is_what_the_tool_returns(tool: str) -> None:
    spec = specify("layer", mixer="linear", options={**LAYER, "layer_scale": True})
    module, x = build(spec).eval(), torch.zeros(spec.input_shape(3))
    report = vitprof.macs(spec, batch=3, counters=[tool])
    weighed = vitprof.params(spec, counters=[tool])
    with restored(module), redirect_stdout(io.StringIO()):
        counted, parameters = DIRECTLY[tool](module, x)
    assert report.counters[tool] == counted
    assert weighed.counters.get(tool, 0) == parameters


# Nothing is left behind.


class Breaks(nn.Module):
    """A module that fails if it is asked to, after a linear layer and a product."""

    def __init__(self, *, breaks: bool) -> None:
        super().__init__()
        self.fc, self.norm = nn.Linear(3, 3), nn.LayerNorm(3)
        self.breaks, self.calls = breaks, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        x = F.gelu(self.norm(self.fc(x))) @ torch.matmul(x.mT, x)
        if self.breaks:
            raise RuntimeError("half-way")
        return x


def everything(module: nn.Module) -> dict[str, object]:
    """Return the attributes of a module and its parts, and the functions of torch."""
    parts = {path: dict(vars(part)) for path, part in module.named_modules()}
    hooks = {
        f"{path}.{name}": dict(value)
        for path, own in parts.items()
        for name, value in own.items()
        if isinstance(value, dict)
    }
    places = {place.__name__: dict(vars(place)) for place in (F, torch.Tensor)}
    functions = {name: one for name, one in vars(torch).items() if callable(one)}
    return {"parts": parts, "hooks": hooks, **places, "torch": functions}


ENGINES = {  # modules that hold lists of a reading
    "calflops": "calflops.calculate_pipline",
    "deepspeed": "deepspeed.profiling.flops_profiler.profiler",
}


@pytest.mark.parametrize("breaks", [False, True])
@every_extra
def test_nothing_is_left_behind(tool: str, breaks: bool) -> None:
    module, x = Breaks(breaks=breaks).train(), torch.ones(2, 3, 3)
    find_tools([tool])[0].convention(Setting())
    said: list[int] = []
    einsum = import_module("einops").einsum if tool == "deepspeed" else None
    for _ in range(2):  # a second reading is not of what the first one left
        before = everything(module)
        failing = pytest.raises(RuntimeError, match="half-way") if breaks else nullcontext()
        with failing, restored(module), redirect_stdout(io.StringIO()):
            said.append(EXTRAS[tool].macs(module, x).total)
        assert everything(module) == before
        if tool == "deepspeed":
            assert import_module("einops").einsum is einsum
        engine = sys.modules.get(ENGINES.get(tool, ""))
        assert engine is None or not (engine.module_mac_count or engine.old_functions)
    assert len(said) == (0 if breaks else 2)
    assert len({*said}) <= 1


def test_what_is_replaced_is_restored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OF_US", "1")
    module = nn.Linear(1, 1)
    before, environment = everything(module), dict(os.environ)

    def nothing(*given: object) -> None:
        """Stand in place of a function."""

    def replace_and_break() -> NoReturn:
        F.linear = torch.matmul = torch.Tensor.matmul = nothing  # type: ignore[assignment]
        torch.Tensor.mul = nothing  # type: ignore[assignment]
        module.total_ops = 5  # type: ignore[assignment]
        os.environ["OF_A_TOOL"] = "1"
        del os.environ["OF_US"]
        logging.getLogger("of_a_tool").critical("unheard")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), restored(module):
        replace_and_break()
    assert everything(module) == before
    assert torch.ones(1, 1).matmul(torch.ones(1, 1)).item() == 1
    assert dict(os.environ) == environment
    logging.getLogger("of_a_tool").critical("heard")
    assert caplog.messages == ["heard"]


def test_a_logger_that_a_tool_makes_writes_to_the_process_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logger = logging.getLogger("of_a_tool")
    monkeypatch.setattr(logger, "handlers", [])

    def counts(*given: object, **named: object) -> dict[str, int]:
        logger.addHandler(logging.StreamHandler(sys.stdout))
        return {}

    monkeypatch.setitem(sys.modules, "torchprofile", SimpleNamespace(profile_macs=counts))
    vitprof.macs("layer", tokens=7, counters=["torchprofile"])
    (handler,) = logger.handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stdout


# Names, and tools that are absent, fail or have changed.


def test_the_usual_tools_are_the_three_and_all_are_nine() -> None:
    assert [tool.name for tool in find_tools(NAMES)] == [*TOOLS]
    assert [tool.name for tool in find_tools(["all"])] == [*TOOLS, *EXTRAS]
    assert [tool.name for tool in find_tools(["deepspeed", "thop", "torch"])] == [
        *("torch", "thop", "deepspeed")
    ]


@pytest.mark.parametrize("width", [60, 80, 160])
def test_all_columns_fit(monkeypatch: pytest.MonkeyPatch, capsys: Capture, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(["macs", "--tokens=50", "--batch=100", "--counters=all", "--brief"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    for tool in installed():
        assert tool in out
    assert ("251,300,000" in out) == ("thop" in installed())


def test_a_name_that_is_unknown(capsys: Capture) -> None:
    assert run(["macs", "--counters=thopp"]) == 2
    assert capsys.readouterr() == (
        "",
        f"vitprof: there is no counter 'thopp'; did you mean thop? known are "
        f"{', '.join(KNOWN[:-1])} and {KNOWN[-1]}\n",
    )


@pytest.mark.parametrize("command", ["params", "macs"])
@pytest.mark.parametrize("tool", EXTRAS)
def test_a_tool_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tool: str, command: str
) -> None:
    package, extra = EXTRAS[tool].package, EXTRAS[tool].extra
    for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    code = run([command, "--tokens=7", f"--counters={tool}", "--format=json"])
    report = json.loads(capsys.readouterr().out)
    assert code == 0
    reason = f"not installed, pip install 'vitprof[{extra}]'"
    if (command, tool) == ("params", "torchprofile"):
        reason = "counts no parameters"
    assert report["unavailable"] == {tool: reason}
    assert report["counters"] == {}


@pytest.mark.parametrize("tool", [pytest.param("ptflops-aten", marks=needs("ptflops-aten"))])
def test_a_tool_without_what_it_is_called_by(monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    engine = import_module("ptflops.aten_engine")
    monkeypatch.delattr(engine, "FlopCounterMode")  # as in releases that have no such backend
    reason = vitprof.macs("layer", tokens=7, counters=[tool]).unavailable[tool]
    assert reason.startswith("cannot be imported: cannot import name 'FlopCounterMode'")


@pytest.mark.parametrize("tool", [pytest.param("thop", marks=needs("thop"))])
def test_a_release_that_counts_otherwise_is_loud(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tool: str
) -> None:
    import_module("thop")
    hooks = sys.modules["thop.profile"].register_hooks
    monkeypatch.setitem(hooks, nn.LayerNorm, hooks[nn.ReLU])  # which counts nothing
    assert run(["macs", "--tokens=7", "--counters=thop", "--format=json"]) == 1
    found = json.loads(capsys.readouterr().out)["differences"]["thop"]
    assert found["unexplained"] == -2 * 4 * 7 * 64


def test_thop_counts_parameters_of_what_a_pass_calls() -> None:
    report = vitprof.params(nn.Linear(3, 5), counters=["thop"])
    assert report.unavailable["thop"] in (
        "counts the parameters of what a pass calls; give the inputs",
        "not installed, pip install 'vitprof[tools]'",
    )


def test_thop_adds_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    def profile(*given: object, **options: object) -> tuple[float, float, dict[str, object]]:
        return 2.0**53 + 2, 0.0, {"module": (2.0**53 + 2, 0.0, {})}

    monkeypatch.setitem(sys.modules, "thop", SimpleNamespace(profile=profile))
    reason = vitprof.macs("layer", tokens=7, counters=["thop"]).unavailable["thop"]
    assert reason.startswith("raises OverflowError: it adds in float64")


def raising(*given: object, **named: object) -> NoReturn:
    raise ValueError("it broke")


def test_a_tool_that_raises_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchprofile", SimpleNamespace(profile_macs=raising))
    report = vitprof.macs("layer", tokens=7, counters=["torchprofile", "torch"])
    assert report.unavailable == {"torchprofile": "raises ValueError: it broke"}
    assert report.counters.keys() == {"torch"}


@pytest.mark.filterwarnings("ignore")
def test_modules_of_every_class_that_a_tool_knows() -> None:
    tools = installed()
    module, x = Knows().eval(), torch.zeros(2, 4, 8, 8)
    report = vitprof.macs(module, x, counters=tools, device="cpu", train=True, grad=True)
    check_adds_up(report, tools)
    assert all(difference.causes for difference in report.differences.values())
    weighed = vitprof.params(module, x, counters=tools)
    assert weighed.explained
    fast = vitprof.macs(module, x, counters=tools, device="cpu")
    assert fast.explained
    # The fast path of the attention returns no weights, of which torchprofile asks the dtype.
    assert fast.unavailable.keys() <= {"torchprofile"}


def test_tied_shared_and_frozen_parameters() -> None:
    one, other, shared = nn.Linear(3, 5), nn.Linear(3, 5), nn.Linear(2, 7)
    other.weight = one.weight
    one.bias.requires_grad_(False)
    module = nn.Sequential(one, other, nn.Sequential(shared), shared)
    expected = {"ptflops": 15 + 5 + 21, "calflops": 15 + 5 + 21, "deepspeed": 15 + 5 + 5 + 21}
    expected["ptflops-aten"] = expected["ptflops"]
    parts = module_parts(module)
    for name in {*installed()} & {*expected}:
        tool = EXTRAS[name]
        assert tool.params(module).total == tool.predict_params(parts) == expected[name]
        assert tool.predict_by_path is not None
        held = tool.predict_by_path(parts)
        said = tool.params(module).by_path
        assert said == {path: held[path] for path in said}
        assert said["2"] == 21
    # thop counts the tensors of each module that it hooks, wherever it stands.
    assert EXTRAS["thop"].predict_params(parts) == 20 + 20 + 2 * 21


class LayerNorm(nn.LayerNorm):
    """A subclass, which a tool that compares classes does not know, of the same name."""


class Knows(nn.Module):
    """Layers that tools know by their class, and functions that they replace or trace."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 8, 2, stride=2, groups=2)
        self.strided = nn.Conv2d(8, 4, 3, stride=2, padding=1, bias=False)
        self.batch, self.group = nn.BatchNorm2d(4), nn.GroupNorm(2, 4)
        self.instance, self.plain = nn.InstanceNorm2d(4), nn.BatchNorm2d(4, affine=False)
        self.act, self.softmax = nn.ReLU(), nn.Softmax(dim=1)
        self.leaky, self.prelu, self.relu6 = nn.LeakyReLU(), nn.PReLU(), nn.ReLU6()
        self.average, self.most = nn.AvgPool2d(2), nn.MaxPool2d(2)
        self.adaptive = nn.AdaptiveAvgPool2d(2)
        self.resize = nn.Upsample(scale_factor=2, mode="bilinear")
        self.norm, self.own = nn.LayerNorm((2, 2)), LayerNorm(4)
        self.shared = nn.Linear(4, 4)
        self.one, self.other = nn.Sequential(self.shared), nn.Sequential(nn.Identity(), self.shared)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.frozen = nn.Parameter(torch.zeros(4), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.batch(self.strided(self.act(self.up(x)))))
        x = self.plain(self.instance(self.group(self.relu6(self.prelu(self.leaky(x))))))
        x = self.softmax(self.resize(self.average(x) * self.most(x)))
        x = self.norm(self.adaptive(F.gelu(F.interpolate(x, size=(4, 6)))))
        y = self.own(x.flatten(2).transpose(1, 2)) + self.frozen
        y = self.one(self.shared(y)) + self.attention(y, y, y, need_weights=False)[0]
        y = self.other(y) if self.training else y
        y = torch.matmul(y, y.mT) @ torch.einsum("bnc,bcd->bnd", y, y)
        return torch.bmm(y, y.mT).softmax(-1) + F.softmax(torch.add(y, y), dim=-1)
