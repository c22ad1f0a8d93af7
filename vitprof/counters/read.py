"""Build a model's torch module and let the tools read it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vitprof.counters.convention import Setting
from vitprof.counters.reading import (
    NoReadingError,
    Reading,
    Tool,
    TrainingStep,
    Unavailable,
)
from vitprof.counters.restored import restored
from vitprof.exclusive import exclusive
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op
from vitprof.formulas.plugins import is_own
from vitprof.progress import Say
from vitprof.subject import Subject
from vitprof.values.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn

# Limits above which a model is executed only with --force.
RUN_MACS = 100_000_000_000
RUN_BYTES = 512 * 2**20
_LONGEST = 160  # letters of another program's message

Inputs = tuple["tuple[Tensor, ...]", "Mapping[str, Tensor]"]  # in order, and by name


def read_params(
    tools: Iterable[Tool], spec: Subject, *, say: Say
) -> dict[str, Reading | Unavailable]:
    """Read each tool's count of the model's parameters, on the meta device.

    Args:
        tools: tools to run.
        spec: the model.
        say: called with a line of progress.
    """

    def read(tool: Tool, module: nn.Module, inputs: Inputs) -> Reading | Unavailable:
        in_order, by_name = inputs
        return _try(tool, partial(tool.params, module, *in_order, **by_name), module, Setting())

    return _read_each(tools, spec, 1, Setting(), read, say, trained=True)


def read_macs(
    tools: Iterable[Tool], spec: Subject, batch: int, setting: Setting, *, force: bool, say: Say
) -> dict[str, Reading | Unavailable]:
    """Read each tool's count of the multiply-accumulates of one forward pass.

    On the meta device nothing is executed or allocated, except by a tool that fails there:
    it executes a copy of the model on the CPU.

    Args:
        tools: tools to run.
        spec: the model.
        batch: images at a time.
        setting: device, mode and gradients of the model.
        force: True to execute a model above `RUN_MACS` or `RUN_BYTES`.
        say: called with a line of progress.
    """
    tree = spec.formula(batch)

    def read(tool: Tool, module: nn.Module, inputs: Inputs) -> Reading | Unavailable:
        why = tool.needs_data(module)
        if setting.device == "meta" and not why:
            reading = _try(tool, partial(_read, tool, module, inputs), module, setting)
            if isinstance(reading, Reading) or not reading.fails:
                return reading
            why = f"it {reading.reason} on the meta device"
        excess = "" if force else _excess(tree)
        if excess:
            return Unavailable(excess)
        reading = _try(tool, partial(_execute, tool, module, inputs), module, setting)
        if setting.device == "meta" and isinstance(reading, Reading):
            note = f"executed on the CPU, since {why}"
            return replace(reading, notes=(note, *reading.notes), executed=True)
        return reading

    return _read_each(tools, spec, batch, setting, read, say)


@exclusive()
def read_training(
    tools: Iterable[Tool],
    make: Callable[[str], TrainingStep],
    tree: Layer,
    setting: Setting,
    *,
    force: bool,
    say: Say,
) -> dict[str, Reading | Unavailable]:
    """Read each tool's count of the multiply-accumulates of a forward and a backward pass.

    On the meta device nothing is executed or allocated, except for a module whose step fails
    there: it is executed on the CPU.

    Args:
        tools: tools to run.
        make: makes the step on a device.
        tree: the formulas, by which the size of the model is judged.
        setting: device of the model.
        force: True to execute a model above `RUN_MACS` or `RUN_BYTES`.
        say: called with a line of progress.
    """

    def read(tool: Tool, device: str) -> Reading | Unavailable:
        assert tool.training is not None
        say(f"{tool.name} reads a step")
        try:
            step = make(device)
        except ImportError as error:
            return Unavailable(f"cannot be imported: {error}")
        except RuntimeError as error:  # bytes beyond 64 bits, or a tensor without data
            return Unavailable(_raises(error), fails=True)
        why = tool.trains_on_cpu(step.module) if device == "meta" else ""
        if why:
            return Unavailable(why, fails=True)
        return _try(tool, partial(tool.training, step), step.module, setting)

    readings: dict[str, Reading | Unavailable] = {}
    for tool in tools:
        if tool.training is None:
            readings[tool.name] = Unavailable("counts forward passes only")
            continue
        why = ""
        if setting.device == "meta":
            found = read(tool, "meta")
            if isinstance(found, Reading) or not found.fails:
                readings[tool.name] = found
                continue
            why = f"it {found.reason} on the meta device"
        excess = "" if force else _excess(tree)
        found = Unavailable(excess) if excess else read(tool, "cpu")
        if why and isinstance(found, Reading):
            note = f"executed on the CPU, since {why}"
            found = replace(found, notes=(note, *found.notes), executed=True)
        readings[tool.name] = found
    return readings


@exclusive()
def _read_each(
    tools: Iterable[Tool],
    spec: Subject,
    batch: int,
    setting: Setting,
    read: Callable[[Tool, nn.Module, Inputs], Reading | Unavailable],
    say: Say,
    *,
    trained: bool = False,
) -> dict[str, Reading | Unavailable]:
    """Build the model and let each tool read it.

    Args:
        tools: tools to run.
        spec: the model.
        batch: images at a time.
        setting: device, mode and gradients of the model.
        read: reads a module by a tool.
        say: called with a line of progress.
        trained: True to let parameters take gradients whatever the setting is.
    """
    say("building the model")
    try:
        import torch
    except ImportError as error:
        return {tool.name: Unavailable(f"cannot be imported: {error}") for tool in tools}
    try:
        module = spec.build(device="meta", dtype=torch.float32).train(setting.train)
        if not setting.grad and not trained:
            # FlopCounterMode raises without gradients if a module is called with a parameter.
            module.requires_grad_(False)
        inputs = (
            spec.inputs(batch, device="meta", dtype=torch.float32),
            spec.keywords(batch, device="meta", dtype=torch.float32),
        )
    except RuntimeError as error:
        if "overflow" not in str(error):  # of the bytes of a tensor, beyond 64 bits
            raise
        return {tool.name: Unavailable(f"torch cannot build it: {_line(error)}") for tool in tools}
    readings = {}
    for tool in tools:
        say(f"{tool.name} reads the model")
        readings[tool.name] = read(tool, module, inputs)
    if any(isinstance(one, Unavailable) and one.fails for one in readings.values()):
        _call_alone(spec, module, inputs)
    return readings


def _call_alone(spec: Subject, module: nn.Module, inputs: Inputs) -> None:
    """Call the module of another package's mixer without a tool, to let it raise its own error."""
    if isinstance(spec, Model) and not all(map(is_own, type(spec.mixer).parts())):
        copied, (in_order, by_name) = _on_cpu(module, inputs)
        with restored(copied):
            copied(*in_order, **by_name)


def _try(
    tool: Tool, reading: Callable[[], Reading], module: nn.Module, setting: Setting
) -> Reading | Unavailable:
    try:
        with restored(module, grad=setting.grad), _unseen():
            return reading()
    except ImportError as error:
        if tool.extra and find_spec(tool.package) is None:
            return Unavailable(f"not installed, pip install 'vitprof[{tool.extra}]'")
        return Unavailable(f"cannot be imported: {error}")
    except NoReadingError as error:
        return Unavailable(str(error))
    except Exception as error:  # a failing tool must not take the others with it
        return Unavailable(_raises(error), fails=True)


@contextmanager
def _unseen() -> Iterator[None]:
    """Keep what a module or a tool prints in the body, which is no output of vitprof.

    A logger that a tool makes meanwhile writes to the streams of the process later.
    """
    streams = {io.StringIO(): sys.stdout, io.StringIO(): sys.stderr}
    out, err = streams
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        for logger in [*logging.root.manager.loggerDict.values()]:
            for handler in getattr(logger, "handlers", ()):
                if isinstance(handler, logging.StreamHandler) and handler.stream in streams:
                    handler.setStream(streams[handler.stream])


def _line(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), "").rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


def _raises(error: Exception) -> str:
    """Return what was raised, by the module rather than by torchinfo, which raises it anew."""
    if str(error).startswith("Failed to run torchinfo") and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return f"raises {type(error).__name__}: {_line(error)}"


def _read(tool: Tool, module: nn.Module, inputs: Inputs) -> Reading:
    in_order, by_name = inputs
    return tool.macs(module, *in_order, **by_name)


def _execute(tool: Tool, module: nn.Module, inputs: Inputs) -> Reading:
    """Read the MACs of a copy of the module on the CPU, which holds zeros."""
    return _read(tool, *_on_cpu(module, inputs))


def _on_cpu(module: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs]:
    """Return a copy of the module and its inputs on the CPU, which hold zeros."""
    import torch

    from vitprof.captured.copies import copy_of

    def zeros(tensor: Tensor) -> Tensor:
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    in_order, by_name = inputs
    given = tuple(map(zeros, in_order)), {name: zeros(x) for name, x in by_name.items()}
    return copy_of(module, device="cpu", zeros=True), given


def _excess(tree: Layer) -> str:
    """Return a sentence if executing the model exceeds a limit; empty if it does not."""
    macs, needed = tree.total(Measure.MACS), _bytes(tree)
    if macs <= RUN_MACS and needed <= RUN_BYTES:
        return ""
    return (
        f"has to execute this model, {macs:,} MACs in about {needed / 2**20:,.0f} MiB, "
        f"more than {RUN_MACS:,} MACs or {RUN_BYTES / 2**20:,.0f} MiB; --force runs it"
    )


def _bytes(tree: Layer) -> int:
    """Estimate the bytes of a forward pass in fp32: the weights and 3 of the largest activation."""
    ops = [node.item for node in tree.walk(fold=True) if isinstance(node.item, Op)]
    largest = max((product(op.shape).value for op in ops), default=0)
    return 4 * (tree.total(Measure.PARAMS) + 3 * largest)
