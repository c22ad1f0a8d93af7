"""Build a model's torch module and let the tools read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from vitprof.counters.reading import Counter, Reading, Unavailable
from vitprof.counters.undisturbed import undisturbed
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op
from vitprof.formulas.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn

Say = Callable[[str], None]

# What a tool that has to execute the model may cost before it has to be forced.
RUN_MACS = 100_000_000_000
RUN_BYTES = 512 * 2**20


def read(
    tools: Iterable[Counter], measure: Measure, spec: Model, batch: int, *, force: bool, say: Say
) -> dict[str, Reading | Unavailable]:
    """Let each tool read the model, in eval mode, without gradients, on the meta device.

    Args:
        tools: which tools.
        measure: what they are to count.
        spec: the model.
        batch: images at a time.
        force: let a tool execute the model whatever that costs.
        say: told what is being done.
    """
    import torch

    from vitprof.modules.build import build

    say("building the model")
    module = build(spec, device="meta").eval()
    inputs = torch.empty(spec.input_shape(batch), device="meta")
    readings: dict[str, Reading | Unavailable] = {}
    for tool in tools:
        say(f"{tool.name} reads the model")
        excess = "" if force else _excess(tool, measure, spec, batch, module)
        readings[tool.name] = Unavailable(excess) if excess else _try(tool, measure, module, inputs)
    return readings


def _try(
    tool: Counter, measure: Measure, module: nn.Module, inputs: Tensor
) -> Reading | Unavailable:
    try:
        with undisturbed(module):
            if measure is Measure.PARAMS:
                return tool.params(module)
            return tool.macs(module, inputs)
    except ImportError as error:
        return Unavailable(f"cannot be imported: {error}")
    except Exception as error:  # a tool may raise anything, and only its own column goes
        return Unavailable(f"raises {type(error).__name__}: {str(error).strip().splitlines()[0]}")


def _excess(tool: Counter, measure: Measure, spec: Model, batch: int, module: nn.Module) -> str:
    """Why the tool would cost too much, or nothing."""
    if measure is not Measure.MACS or not tool.executes(module):
        return ""
    tree = spec.formula(batch)
    macs, needed = tree.total(Measure.MACS), _bytes(tree)
    if macs <= RUN_MACS and needed <= RUN_BYTES:
        return ""
    return (
        f"has to execute this model, {macs:,} MACs in about {needed / 2**20:,.0f} MiB, "
        f"more than {RUN_MACS:,} MACs or {RUN_BYTES / 2**20:,.0f} MiB; --force runs it"
    )


def _bytes(tree: Layer) -> int:
    """About what a forward pass in float32 holds: the weights and the largest activations."""
    ops = [node.item for node in tree.walk(fold=True) if isinstance(node.item, Op)]
    largest = max(product(op.shape).value for op in ops)
    return 4 * (tree.total(Measure.PARAMS) + 3 * largest)
