"""Readings of the tools when called directly, and restoration of all state after a reading."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
import torchinfo
import torchinfo.torchinfo
from spellings import SOME, Spelling
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from torch.utils.flop_counter import FlopCounterMode
from torchinfo.enums import ColumnSettings
from torchinfo.layer_info import LayerInfo

import vitprof
from vitprof.cli import run
from vitprof.counters import TOOLS
from vitprof.counters import read as limits
from vitprof.counters.reading import Reading
from vitprof.counters.restored import restored
from vitprof.modules.build import build
from vitprof.report.counts import Counts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its import warns of a deprecated torch.jit
    from fvcore.nn import FlopCountAnalysis, parameter_count

# One encoder layer at batch 100, 50 tokens, dim 64, 4 heads of 16, MLP 256.
TRUE = 277_760_000
PRODUCTS = 2 * 100 * 4 * 50 * (16 * 50)  # the scores, and their product with the values
NORMS = 2 * 100 * 50 * 64
WEIGHTS = 2 * (2 * 64) + (64 + 1) * 192 + (64 + 1) * 64 + (64 + 1) * 256 + (256 + 1) * 64


@pytest.mark.parametrize("fused", [False, True])
def test_one_encoder_layer(fused: bool) -> None:
    report = vitprof.macs("layer", batch=100, tokens=50, fused=fused)
    assert report.counters == {
        # A leaf's weights and biases times the images; tokens and products are not seen.
        "torchinfo": 100 * WEIGHTS,
        # 5 for each element that is normalised; no rule for the fused kernel.
        "fvcore": TRUE + 5 * NORMS - (PRODUCTS if fused else 0),
        # On the meta device a fused attention is decomposed into its matrix products.
        "torch": TRUE,
    }
    printed = (4_998_400, 248_960_000 if fused else 280_960_000, 277_760_000)
    assert (*report.counters.values(),) == printed


SMALL: dict[str, dict[str, Any]] = {
    "mae": {"image_size": 24, "patch_size": 4, "channels": 3, "dim": 24, "depth": 2, "heads": 3}
    | {"decoder_dim": 20, "decoder_depth": 2, "decoder_heads": 5, "mask_ratio": "0.3"},
    "pyramid": {"image_size": 24, "depths": (2, 1), "widths": (12, 20), "stage_heads": (3, 5)}
    | {"classes": 7, "norm": "group"},
    "classifier": {"image_size": 12, "patch_size": 4, "dim": 33, "depth": 2, "heads": 3},
    "layer": {"tokens": 7, "dim": 15, "heads": 3},
}
Shown = dict[str, int]


def number(cell: str) -> int:
    """Read a count as torchinfo prints it: `--`, `1,234`, `(1,234)` if frozen, `├─1,234`."""
    return int(re.sub(r"\D", "", cell) or 0)


def path_of(info: LayerInfo) -> str:
    above = info.parent_info
    return "" if above is None else f"{path_of(above)}.{info.var_name}".lstrip(".")


def torchinfo_params(module: nn.Module, inputs: Tensor) -> Shown:
    rows = torchinfo.summary(module, verbose=0).summary_list
    shown = {path_of(info): number(info.num_params_to_str(True)) for info in rows}
    for info in rows:
        own = dict(info.module.named_parameters(recurse=False))
        for name, cells in info.inner_layers.items():
            if name in own:
                path = f"{path_of(info)}.{name}".lstrip(".")
                shown[path] = number(cells[ColumnSettings.NUM_PARAMS])
    return shown


def with_lists(module: nn.Module, shown: Shown) -> Shown:
    """A list of blocks is not called, so a tool that sees calls shows the blocks alone."""
    lists = [path for path, part in module.named_modules() if isinstance(part, nn.ModuleList)]
    blocks = {path: range(len(module.get_submodule(path)._modules)) for path in lists}
    return shown | {path: sum(shown[f"{path}.{i}"] for i in blocks[path]) for path in lists}


def torchinfo_macs(module: nn.Module, inputs: Tensor) -> Shown:
    rows = torchinfo.summary(module, input_data=inputs, verbose=0).summary_list
    return with_lists(module, {path_of(info): number(info.macs_to_str(True)) for info in rows})


def fvcore_params(module: nn.Module, inputs: Tensor) -> Shown:
    return dict(parameter_count(module))


def fvcore_macs(module: nn.Module, inputs: Tensor) -> Shown:
    analysis = FlopCountAnalysis(module, inputs).tracer_warnings("none")
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return {path: int(flops) for path, flops in analysis.by_module().items()}


def torch_params(module: nn.Module, inputs: Tensor) -> Shown:
    shown = {name: parameter.numel() for name, parameter in module.named_parameters()}
    for path, part in module.named_modules():
        shown[path] = sum(parameter.numel() for parameter in part.parameters())
    return shown


def torch_macs(module: nn.Module, inputs: Tensor) -> Shown:
    with FlopCounterMode(display=False) as mode:
        module(inputs)
    flops, root = mode.get_flop_counts(), type(module).__name__
    names = {path: f"{root}.{path}".removesuffix(".") for path, _ in module.named_modules()}
    counts = {path: sum(flops.get(name, {}).values()) // 2 for path, name in names.items()}
    return with_lists(module, counts)


DISPLAYS: dict[str, dict[str, Callable[[nn.Module, Tensor], Shown]]] = {
    "params": {"torchinfo": torchinfo_params, "fvcore": fvcore_params, "torch": torch_params},
    "macs": {"torchinfo": torchinfo_macs, "fvcore": fvcore_macs, "torch": torch_macs},
}


def test_every_tool_is_asked_directly() -> None:
    assert [displays.keys() for displays in DISPLAYS.values()] == [TOOLS.keys()] * 2


@pytest.mark.parametrize("command", DISPLAYS)
@pytest.mark.parametrize("spelling", [s for s in SOME if not s.variant][::2], ids=str)
def test_every_row_is_what_the_tool_shows(spelling: Spelling, command: str) -> None:
    spec = spelling.specify()
    module, inputs = build(spec).eval(), torch.zeros(spec.input_shape(2))
    batch = {"batch": 2} if command == "macs" else {}
    report: Counts = getattr(vitprof, command)(spec, **batch)
    assert report.unavailable == {}
    for tool, display in DISPLAYS[command].items():
        with restored(module):
            shown = display(module, inputs)
        assert report.counters[tool] == shown[""]
        assert {row.path: row.counters[tool] for row in report.tree} == {
            row.path: shown[row.path] for row in report.tree
        }


class Odd(nn.Module):
    """A module in train and eval mode, with hooks and with buffers that a forward pass changes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout()
        self.fc = nn.Linear(3, 5).eval()
        self.last: nn.Module = nn.Identity()
        self.fc.register_forward_hook(lambda module, inputs, output: None, with_kwargs=False)
        self.norm.register_forward_pre_hook(lambda module, inputs: None)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.fc(self.drop(self.norm(x))))
        return out


class Breaks(nn.Module):
    """A module that fails after everything before it has run."""

    def forward(self, x: Tensor) -> NoReturn:
        raise RuntimeError("half-way")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Run on one thread: at small sizes more threads only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def module() -> Odd:
    return Odd()


@pytest.fixture(autouse=True)
def process_is_restored() -> Iterator[None]:
    """Restore global state, so that a failing test does not affect the next."""
    before = hooks_of(vars(torch_module))
    yield
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    for name, value in before.items():
        if isinstance(value, dict):
            registry = vars(torch_module)[name]
            registry.clear()
            registry.update(value)
        else:
            setattr(torch_module, name, value)


def hooks_of(space: dict[str, Any]) -> dict[str, Any]:
    """Return all hook registries in the variables of a module, or of torch."""
    hooks = {name: value for name, value in space.items() if "_hook" in name}
    return {
        name: dict(value) if isinstance(value, dict) else value
        for name, value in hooks.items()
        if isinstance(value, dict | bool | None)
    }


def state(module: nn.Module) -> dict[str, object]:
    """Return all state of a module and of the process that a tool could change."""
    spaces = [vars(part) for part in module.modules()]
    return {
        "modes": [part.training for part in module.modules()],
        "hooks": [hooks_of(space) for space in spaces],
        "attributes": [sorted(space) for space in spaces],
        "tensors": {name: tensor.tolist() for name, tensor in module.state_dict().items()},
        "trained": [parameter.requires_grad for parameter in module.parameters()],
        "gradients": [parameter.grad for parameter in module.parameters()],
        "global hooks": hooks_of(vars(torch_module)),
        "dispatch modes": list(_get_current_dispatch_mode_stack()),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "grad": torch.is_grad_enabled(),
        "random": torch.get_rng_state().tolist(),
        "warnings": list(warnings.filters),
        "torchinfo": dict(torchinfo.torchinfo._cached_forward_pass),
    }


def nothing(*given: object) -> None:
    """Do nothing, as a hook."""


CHANGES: dict[str, Callable[[Odd], object]] = {
    "mode": lambda module: module.train(not module.training),
    "mode of a part": lambda module: module.fc.train(),
    "forward hook": lambda module: module.fc.register_forward_hook(nothing),
    "forward pre-hook": lambda module: module.fc.register_forward_pre_hook(nothing),
    "backward hook": lambda module: module.fc.register_full_backward_hook(nothing),
    "backward pre-hook": lambda module: module.fc.register_full_backward_pre_hook(nothing),
    "hook of every kind": lambda module: module.fc.register_forward_hook(
        nothing, with_kwargs=True, always_call=True
    ),
    "pre-hook with keywords": lambda module: module.fc.register_forward_pre_hook(
        nothing, with_kwargs=True
    ),
    "hook taken away": lambda module: module.fc._forward_hooks.clear(),
    "global forward hook": lambda module: torch_module.register_module_forward_hook(
        nothing, always_call=True
    ),
    "global forward pre-hook": lambda module: torch_module.register_module_forward_pre_hook(
        nothing
    ),
    "global backward hook": lambda module: torch_module.register_module_full_backward_hook(nothing),
    "statistics": lambda module: module.train()(torch.randn(4, 3)),
    "new buffer": lambda module: module.fc.register_buffer("total_ops", torch.zeros(1)),
    "dtype": lambda module: torch.set_default_dtype(torch.float64),
    "device": lambda module: torch.set_default_device("meta"),
    "gradients on": lambda module: torch.set_grad_enabled(True),
    "gradients off": lambda module: torch.set_grad_enabled(False),
    "random numbers": lambda module: torch.rand(1),
    "warnings": lambda module: warnings.simplefilter("always"),
}


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_undisturbed_undoes(module: Odd, change: Callable[[Odd], object], raises: bool) -> None:
    before = state(module)
    with pytest.raises(KeyboardInterrupt) if raises else nullcontext(), restored(module):
        change(module)
        assert state(module) != before
        if raises:
            raise KeyboardInterrupt
    assert state(module) == before


def test_undisturbed_runs_without_gradients_or_warnings(module: Odd) -> None:
    with restored(module):
        warnings.warn("unheard", stacklevel=1)
        assert not torch.is_grad_enabled()
    with torch.no_grad():
        with restored(module):
            pass
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("tool", TOOLS)
def test_tools_leave_nothing(module: Odd, tool: str, raises: bool) -> None:
    if raises:
        module.last = Breaks()
    inputs = torch.randn(4, 3)
    before = state(module)
    failing = pytest.raises(RuntimeError, match=r"half-way|Failed to run torchinfo")
    with failing if raises else nullcontext(), restored(module):
        TOOLS[tool].macs(module, inputs)
    assert state(module) == before
    with restored(module):
        TOOLS[tool].params(module)
    assert state(module) == before


def raising(error: Exception) -> Callable[..., NoReturn]:
    def refuse(*given: object) -> NoReturn:
        raise error

    return refuse


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("it broke"), "raises RuntimeError: it broke"),
        (ValueError("\n\n  first\nsecond"), "raises ValueError: first"),
        (AssertionError(), "raises AssertionError"),
        (ImportError("no module named 'it'"), "cannot be imported: no module named 'it'"),
    ],
)
@pytest.mark.parametrize("command", ["params", "macs"])
@pytest.mark.parametrize("tool", TOOLS)
def test_tool_that_raises_loses_its_column(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
    command: str,
    error: Exception,
    reason: str,
) -> None:
    broken = replace(TOOLS[tool], macs=raising(error), params=raising(error))
    monkeypatch.setitem(TOOLS, tool, broken)
    code = run([command, "--model=layer", "--format=json"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["unavailable"].keys() == {tool}
    assert report["unavailable"][tool].startswith(reason)
    assert report["counters"].keys() == TOOLS.keys() - {tool}
    assert all(row["counters"].keys() == report["counters"].keys() for row in report["rows"])


@pytest.mark.parametrize("command", ["params", "macs"])
@pytest.mark.parametrize("tool", ["torchinfo", "fvcore"])
def test_tool_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tool: str, command: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == tool]:
        monkeypatch.setitem(sys.modules, name, None)
    find = importlib.metadata.version

    def version(package: str) -> str:
        if package == tool:
            raise importlib.metadata.PackageNotFoundError(tool)
        return find(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    report: Counts = getattr(vitprof, command)("layer")
    assert report.counters.keys() == TOOLS.keys() - {tool}
    assert "cannot be imported" in report.unavailable[tool]
    assert tool not in report.versions


@pytest.mark.parametrize(
    ("line", "silent"),
    [
        # Tensors of more bytes than 64 bits can count: of the input, and of a weight.
        ("macs --tokens=10000000 --dim=1000000 --batch=1000000000", set(TOOLS)),
        ("params --image-size=1000000 --patch-size=1000000 --channels=1000000", set(TOOLS)),
        # Positions of 512 TB, which the other tools need not write down.
        ("macs --mixer=linear --image-size=1000000 --patch-size=1 --force", {"fvcore"}),
    ],
)
def test_model_too_large_for_torch(
    capsys: pytest.CaptureFixture[str], line: str, silent: set[str]
) -> None:
    code = run([*line.split(), "--format=json"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert json.loads(out)["unavailable"].keys() == silent


@pytest.mark.parametrize("options", [{"image_size": 1024}, {"batch": 100}])
def test_fvcore_does_not_run_a_large_model(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    asked = []

    def ask(*given: object) -> Reading:
        asked.append(given)
        return Reading(total=0, by_path={})

    monkeypatch.setitem(TOOLS, "fvcore", replace(TOOLS["fvcore"], macs=ask))
    report = vitprof.macs("mae", counters=["fvcore"], **options)
    assert report.counters == {}
    assert f"{report.total:,} MACs" in report.unavailable["fvcore"]
    assert "--force" in report.unavailable["fvcore"]
    assert asked == []


@pytest.mark.parametrize("limit", ["RUN_MACS", "RUN_BYTES"])
def test_force(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    def ask(**options: Any) -> Counts:
        return vitprof.macs("mae", counters=["fvcore"], **options, **SMALL["mae"])

    within = ask()
    assert within.counters.keys() == {"fvcore"}
    monkeypatch.setattr(limits, limit, 0)
    assert ask().unavailable.keys() == {"fvcore"}
    assert ask(force=True).counters == within.counters
    sizes = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL["mae"].items()]
    run(["macs", "--counters=fvcore", "--format=json", "--force", *sizes])
    assert json.loads(capsys.readouterr().out)["counters"] == within.counters


def test_limits_are_for_models_that_have_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RUN_MACS", 0)
    monkeypatch.setattr(limits, "RUN_BYTES", 0)
    # No convolution, so the trace takes the meta device; no other tool ever needs data.
    assert vitprof.macs("classifier", **SMALL["classifier"]).unavailable == {}
    assert vitprof.macs("mae", **SMALL["mae"]).unavailable.keys() == {"fvcore"}


GIANT = """
import json
from pathlib import Path

import vitprof

sizes = dict(dim=12288, depth=12, heads=48, image_size=224, patch_size=14, channels=3, classes=1000)
params = vitprof.params("classifier", **sizes)
macs = vitprof.macs("classifier", **sizes)
# Unlike getrusage's, this peak does not start at that of the process that started this one.
(peak,) = [
    int(line.split()[1]) * 1024
    for line in Path("/proc/self/status").read_text().splitlines()
    if line.startswith("VmHWM:")
]
print(json.dumps([params.total, params.counters, macs.total, macs.counters, peak]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read a peak from")
def test_22_billion_parameters_take_no_memory() -> None:
    """A quarter of the blocks of ViT-22B (Dehghani et al. 2023, table 1), twice as wide."""
    child = subprocess.run(
        [sys.executable, "-c", GIANT], capture_output=True, text=True, timeout=60, check=True
    )
    params, params_said, macs, macs_said, peak = json.loads(child.stdout)
    D, L, n, pixels, classes = 2 * 6144, 48 // 4, (224 // 14) ** 2, 14 * 14 * 3, 1000
    N = n + 1
    block = 2 * (2 * D) + (D + 1) * 3 * D + (D + 1) * D + (D + 1) * 4 * D + (4 * D + 1) * D
    around = (pixels + 1) * D + D + N * D + 2 * D + (D + 1) * classes
    assert params == L * block + around
    assert params_said == dict.fromkeys(TOOLS, params)
    assert macs == L * (12 * N * D**2 + 2 * N**2 * D) + n * pixels * D + D * classes
    assert macs_said["torch"] == macs
    assert macs_said["fvcore"] == macs + 5 * (L * 2 * N * D + D)
    assert peak < 10**9


def test_torch_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("vitprof.modules")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    report = vitprof.macs("layer")
    assert report.counters == {}
    assert report.unavailable.keys() == TOOLS.keys()
    assert all(reason.startswith("cannot be imported") for reason in report.unavailable.values())
