"""Check of a mixer's formula against its torch module, which vitprof's own mixers pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vitprof.allocation.departures import TRACED
from vitprof.allocation.step import follow
from vitprof.errors import SpecError, VitprofError
from vitprof.formulas.block import Block
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.model import Model
from vitprof.formulas.models.encoder_layer import EncoderLayer
from vitprof.formulas.op import Op, Parameter
from vitprof.modules.build import build_mixer, build_shared
from vitprof.request.workload import Workload
from vitprof.running.trace import trace
from vitprof.values.options import Choice, Flag, pairs
from vitprof.values.size import ZERO, Size

Reference = Callable[[Any, Tensor], Tensor]

# Odd and unequal, with one head and one image among them, on a grid and on none.
SIZES: tuple[Mapping[str, int], ...] = (
    {"tokens": 9, "dim": 12, "heads": 3},
    {"tokens": 16, "dim": 20, "heads": 5},
    {"tokens": 7, "dim": 6, "heads": 1},
)
BATCHES = (1, 3)
WORKLOADS = (
    Workload(optimizer="sgd"),
    Workload(optimizer="sgd", dtype="bf16", autocast=True),
    Workload(optimizer="sgd", dtype="bf16", device="cpu"),
    Workload(optimizer="sgd", checkpoint=True),
    Workload(inference=True),
)


def spellings(mixer: type[Mixer], options: Mapping[str, object]) -> Iterator[Mixer]:
    """Yield the mixer with these options, then with each other value of every other option."""
    given: dict[str, Any] = dict(options)
    usual = mixer(**given)
    yield usual
    for name, option in mixer.declared().items():
        others: list[object] = []
        if name not in given and isinstance(option, Flag):
            others = [not getattr(usual, name)]
        elif name not in given and isinstance(option, Choice):
            others = [other for other in option.names if other != getattr(usual, name)]
        for other in others:
            try:
                yield replace(usual, **{name: other})
            except SpecError:  # refused without another option
                continue


def check_mixer(mixer: Mixer, sizes: Mapping[str, int], reference: Reference | None = None) -> None:
    """Compare a mixer with its module at some sizes.

    Args:
        mixer: mixer with its options.
        sizes: tokens, dim and heads of a bare layer.
        reference: maps the module and its input (B, N, D) to its output, in a naive way.

    Raises:
        AssertionError: they differ; the message names the op.
        SpecError: the mixer is not defined at these sizes.
    """
    __tracebackhide__ = True
    tokens, dim, heads = sizes["tokens"], sizes["dim"], sizes["heads"]
    layer = EncoderLayer(mixer=mixer, mlp="none", tokens=tokens, dim=dim, heads=heads)
    try:
        for turn, batch in enumerate(BATCHES):
            pair = _Pair.of(layer, batch)
            _check_modules(pair)
            _check_parameters(pair)
            _check_shapes(pair)
            _check_macs(pair)
            _check_gradients(pair, reference)
            for workload in WORKLOADS[turn :: len(BATCHES)]:
                check_memory(layer, replace(workload, batch=batch))
    except SpecError:
        raise
    except (VitprofError, AssertionError) as error:
        where = pairs({**sizes, **mixer.values()})
        cause = None if isinstance(error, AssertionError) else error  # which leads to its line
        raise AssertionError(f"{mixer.name} at {where}: {error}") from cause


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Mixer on paper and in torch; paths are relative to the mixer, whose own path is "".

    Attributes:
        ops: ops of its formula, by path.
        layers: layers of its formula: submodules that contain others, and the mixer itself.
        block: block with the mixer and the sizes that it is built for.
        shape: shape of its input.
    """

    ops: dict[str, Op]
    layers: dict[str, Layer]
    block: Block
    shape: tuple[int, ...]

    @classmethod
    def of(cls, layer: EncoderLayer, batch: int) -> _Pair:
        block = layer.stages[0].block
        inside = {
            node.path.removeprefix("mixer").removeprefix("."): node.item
            for node in layer.formula(batch).walk(fold=False)
            if node.path == "mixer" or node.path.startswith("mixer.")
        }
        return cls(
            ops={path: item for path, item in inside.items() if isinstance(item, Op)},
            layers={path: item for path, item in inside.items() if isinstance(item, Layer)},
            block=block,
            shape=layer.input_shape(batch),
        )

    def build(self, device: str, dtype: torch.dtype = torch.float32) -> nn.Module:
        with torch.device(device):
            return build_mixer(self.block.mixer, self.block.sizes).to(dtype)

    def shared(self, device: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        """Return what the module takes besides its input; see `Mixer.share`."""
        with torch.device(device), torch.no_grad():
            module = build_shared(self.block)
            return () if module is None else module.to(dtype)()

    def run(self, module: nn.Module) -> Tensor:
        """Return the module's output on the device `meta`."""
        with torch.no_grad():
            x = torch.empty(self.shape, device="meta")
            y: Tensor = module.eval()(x, *self.shared("meta"))
        return y


def _check_modules(pair: _Pair) -> None:
    """Compare paths and types with those of the submodules."""
    ours = {path: layer.type for path, layer in pair.layers.items()}
    ours |= {path: op.type for path, op in pair.ops.items() if op.module}
    theirs = {
        path: type(part).__name__
        for path, part in pair.build("meta").named_modules()
        if not isinstance(part, nn.Identity)
    }
    for path in {**theirs, **ours}:
        own, other = ours.get(path, "nothing"), theirs.get(path, "nothing")
        if own != other:
            raise AssertionError(
                f"{_place(path)}: the formula has {own} and the module {other}; what a submodule "
                "computes has its name and its class"
            )


def _check_parameters(pair: _Pair) -> None:
    """Compare parameters, and which of them are trained, with the module's."""
    theirs: Counter[str] = Counter()
    for name, parameter in pair.build("meta").named_parameters():
        owner = name.rpartition(".")[0]
        path = owner if owner in pair.ops else name
        theirs[path] += parameter.numel()
        op = pair.ops.get(path)
        if isinstance(op, Parameter) and op.trained != parameter.requires_grad:
            trained = "is" if parameter.requires_grad else "is not"
            raise AssertionError(f"{_place(path)}: the module's {trained} trained")
    ours = {path: op.params for path, op in pair.ops.items()}
    for path in {**theirs, **ours}:
        own, other = ours.get(path, ZERO), theirs[path]
        if own.value != other:
            raise AssertionError(
                f"{_place(path)}: the formula has {_spelled(own)} parameters and the module "
                f"{other:,}"
            )


def _check_shapes(pair: _Pair) -> None:
    """Compare the shapes of ops' outputs with those that the submodules return."""
    module = pair.build("meta")
    returned: dict[str, tuple[int, ...]] = {}
    for path, op in pair.ops.items():
        if op.module:
            module.get_submodule(path).register_forward_hook(partial(_note, returned, path))
    if pair.run(module).shape != pair.shape:
        raise AssertionError("the module does not return what it is given: (B, N, D)")
    for path, op in pair.ops.items():
        shape = tuple(size.value for size in op.shape)
        if op.module and returned.get(path) != shape:
            raise AssertionError(
                f"{_place(path)}: the formula writes {shape} and the module "
                f"{returned.get(path, 'is not called')}"
            )


def _note(
    returned: dict[str, tuple[int, ...]], path: str, part: nn.Module, given: object, y: Tensor
) -> None:
    returned[path] = tuple(y.shape)


def _check_macs(pair: _Pair) -> None:
    """Compare multiply-accumulates with those that PyTorch's counter finds in each submodule."""
    module = pair.build("meta")
    with FlopCounterMode(display=False) as counter:
        pair.run(module)
    root = type(module).__name__
    flops: Counter[str] = Counter()
    for path, ops in counter.get_flop_counts().items():
        if path == root or path.startswith(f"{root}."):
            flops[path.removeprefix(root).removeprefix(".")] = sum(ops.values())
    for path, op in pair.ops.items():
        if op.module and 2 * op.macs.value != flops[path]:
            raise AssertionError(
                f"{_place(path)}: the formula has {_spelled(op.macs)} MACs and PyTorch's counter "
                f"{flops[path] // 2:,}"
            )
    for path, layer in pair.layers.items():
        if 2 * layer.of_one(Measure.MACS) != flops[path] and layer.type != "ModuleList":
            raise AssertionError(
                f"{_place(path)}: the formula has {layer.of_one(Measure.MACS):,} MACs in all and "
                f"PyTorch's counter {flops[path] // 2:,}; a product of activations is a submodule "
                "of the class MatMul, by whose name the formula has it"
            )


def _check_gradients(pair: _Pair, reference: Reference | None) -> None:
    """Compare the module with the reference, and check that each parameter gets a gradient."""
    generator = torch.Generator().manual_seed(0)
    module = pair.build("cpu", torch.float64).eval()
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) - 0.5)
    x = torch.randn(pair.shape, generator=generator, dtype=torch.float64, requires_grad=True)
    y = module(x, *pair.shared("cpu", torch.float64))
    if reference is not None:
        torch.testing.assert_close(
            y, reference(module, x), msg=lambda said: f"the module is not its reference: {said}"
        )
    names = [name for name, tensor in module.named_parameters() if tensor.requires_grad]
    trained = [x, *(tensor for tensor in module.parameters() if tensor.requires_grad)]
    weights = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((y * weights).sum(), trained, allow_unused=True)
    for name, gradient in zip(["the input", *names], gradients, strict=True):
        if gradient is None:
            raise AssertionError(f"no gradient reaches {name}")
        if not gradient.isfinite().all():
            raise AssertionError(f"the gradient of {name} is not finite")


def check_memory(model: Model, workload: Workload) -> None:
    """Compare the bytes held after each allocation of a step with a trace of it.

    Raises:
        AssertionError: they differ; the message names the op.
    """
    reading, _ = follow(model, workload, every=True, departures=TRACED)
    timeline, traced = reading.eager.timeline, trace(model, workload)
    levels = timeline.levels()
    for phase, (begin, end) in timeline.phases.items():
        ours, theirs = levels[begin:end], traced.levels[phase]
        for place, (own, other) in enumerate(zip_longest(ours, theirs)):
            if own == other:
                continue
            at = timeline.paths[begin + place] if own is not None else "its end"
            function = traced.functions[phase][place] if other is not None else "its end"
            raise AssertionError(
                f"{at}: after allocation {place} of the {phase} phase the formula holds "
                f"{_bytes(own)} and the module {_bytes(other)}, at {function} "
                f"({pairs(workload.values())})"
            )


def _bytes(held: int | None) -> str:
    return "nothing more" if held is None else f"{held:,} bytes"


def _place(path: str) -> str:
    return path or "the mixer itself"


def _spelled(size: Size) -> str:
    return f"{size.formula} = {size.value:,}" if size.operator else f"{size.value:,}"
