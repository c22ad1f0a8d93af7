"""Capture of a forward pass: what its author wrote, and the kernels that it became.

The module is called once on fake tensors, watched at two levels. A dispatch mode at the
pre-dispatch key sees the functions that the author called (`linear`, `einsum`,
`scaled_dot_product_attention`), as a TorchScript tracer does; an ordinary one below it sees the
kernels that each became (`mm`, `bmm`, `convolution`).

In a training step the backward pass is watched, too. Autograd's functions that a call made are
known by the graph behind its output, and the kernels that each of them runs belong to the call. A
call that is made again in the backward pass, by checkpointing, is known by its place.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from threading import get_ident
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.schema_check_mode import SchemaCheckMode
from torch.autograd import Function
from torch.nn import functional
from torch.nn.modules import module as torch_module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitprof.captured.kernels import Product, is_known, moves, multiplied, products
from vitprof.exclusive import exclusive
from vitprof.formulas.op import Pass

Shape = tuple[int, ...]
_APPLY = vars(Function)["apply"].__func__.__code__
# Attributes that tools replace, to count what is called through them.
_ATTRIBUTES: tuple[tuple[Any, str, str], ...] = (
    (
        functional,
        "F",
        """
        linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
        scaled_dot_product_attention relu prelu elu relu6 silu gelu softmax avg_pool1d avg_pool2d
        avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
        adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d upsample
        interpolate
        """,
    ),
    (torch, "torch", "matmul mm bmm addmm baddbmm mul add"),
    (torch.Tensor, "Tensor", "matmul __matmul__ mm bmm addmm mul add"),
)
_DEVICE = torch.ops.prim.device.default


@dataclass(slots=True)
class Call:
    """A call of a torch function, as it was written.

    Attributes:
        path: path of the module whose forward called it.
        function: name of the function, `aten::linear`.
        overload: overload of it, such as `padding`.
        operands: shapes of its tensors, in order.
        parameters: True for each of these tensors that is a parameter of the model.
        arguments: its arguments, tensors replaced by their shapes.
        out: shape of its first output.
        products: the products of its kernels, by the kernels' names.
        unknown: names of its kernels that vitprof does not know.
        used: False if nothing that the module returns depends on it.
        gradients: the products of its kernels in the backward pass, with the part of the step.
        moves: True if its kernels only make views or move data.
        hidden: True if an `autograd.Function` called it, of which a tracer sees nothing.
        spelled: attributes of `torch`, `F` and `Tensor` through which it was called.
        reads_parameter: True if a kernel of it with products reads a parameter.
    """

    path: str
    function: str
    overload: str
    operands: tuple[Shape, ...]
    parameters: tuple[bool, ...]
    arguments: dict[str, Any]
    out: Shape
    products: list[Product] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    gradients: list[Product] = field(default_factory=list)
    reads_parameter: bool = False
    moves: bool = True
    used: bool = True
    hidden: bool = False
    spelled: tuple[str, ...] = ()


@dataclass(slots=True)
class Entered:
    """A call of a module.

    Attributes:
        path: its path; of a shared module, its first.
        out: shape of its output, of the first of a tuple and the last of a dictionary.
    """

    path: str
    out: Shape = ()


@dataclass(slots=True)
class Captured:
    """Calls of a forward pass, in order.

    Attributes:
        events: calls of functions and of modules, in order; a module's stands before what it did.
        decided: paths and functions at which the forward pass asked for the value of a tensor.
        trains: True if a training step was captured, with its backward pass.
    """

    events: list[Call | Entered] = field(default_factory=list)
    decided: list[str] = field(default_factory=list)
    trains: bool = False

    @property
    def calls(self) -> Iterator[Call]:
        """Calls of functions."""
        return (event for event in self.events if isinstance(event, Call))

    @property
    def macs(self) -> int:
        """Sum over the products of all kernels, those of the backward pass too."""
        return sum(one.macs for call in self.calls for one in (*call.products, *call.gradients))


class NeedsDataError(Exception):
    """A forward pass that depends on the values of a tensor, other than a truth."""


Loss = Callable[[Any], Tensor]  # of a module's output


@exclusive()
def capture(
    module: nn.Module,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    *,
    truth: bool = True,
    fast: bool = False,
    loss: Loss | None = None,
) -> Captured:
    """Call a module on fake tensors and return what it did.

    Args:
        module: module whose parameters are fake tensors; it is called under its `FakeTensorMode`.
        args: positional arguments.
        kwargs: keyword arguments.
        truth: answer to each question whether a tensor is true.
        fast: let torch's attention and encoder layers take their fast path, one function.
        loss: loss of the output, whose backward pass is captured, too; None for a forward pass.
    """
    captured = Captured(trains=loss is not None)
    watch = _Watch(module, captured, truth=truth)
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(mode=False))  # in which less is dispatched
            stack.enter_context(torch.set_grad_enabled(loss is not None))
            stack.enter_context(watch.modules())
            stack.enter_context(watch.names())
            stack.enter_context(enable_python_dispatcher())
            stack.enter_context(_Kernels(watch))
            stack.enter_context(_Written(watch))
            output = module(*args, **kwargs)
            if loss is not None:
                watch.inside = False
                made = loss(output)
                watch.backward = True
                torch.autograd.backward(made)
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
    watch.find_unused(output)
    captured.events += [call for call in watch.beside if call.products or call.gradients]
    return captured


class _Watch:
    """State that the modes and hooks share: the module that runs, and the call that is open.

    Attributes:
        captured: what has been noted.
        truth: answer to each question whether a tensor is true.
        open: the call whose kernels run; None if there is none.
        inside: True in the forward pass of the module, False in that of the loss.
        backward: True in the backward pass.
        again: True in a call that is made again in the backward pass.
        beside: calls that the module does not make.
    """

    def __init__(self, module: nn.Module, captured: Captured, *, truth: bool) -> None:
        self.captured = captured
        self.truth = truth
        self.open: Call | None = None
        self.inside = True
        self.backward = self.again = False
        self.beside: list[Call] = []
        self._storages = {one.untyped_storage()._cdata for one in module.parameters()}
        self._functions: dict[Any, Call] = {}  # autograd's, with the call that made each
        self._made: dict[tuple[Any, ...], list[Call]] = defaultdict(list)
        self._kept: list[object] = []  # identities of tensors are reused once they are freed
        self._flow: list[tuple[Call, list[int], list[int]]] = []  # calls with what they read, write
        self._paths = {id(part): path for path, part in module.named_modules()}
        self._parameters = {id(parameter) for parameter in module.parameters()}
        self._stack: list[Entered] = []
        self._spelled: list[str] = []

    @property
    def path(self) -> str:
        """Path of the module that runs."""
        return self._stack[-1].path if self._stack else ""

    @contextmanager
    def modules(self) -> Iterator[None]:
        """Note calls of modules in the body."""
        own = get_ident()

        def enter(part: nn.Module, args: object) -> None:
            if get_ident() != own:  # the hooks see the modules that another thread calls, too
                return
            entered = Entered(self._paths.get(id(part), self.path))
            self._stack.append(entered)
            if not self.backward:
                self.captured.events.append(entered)

        def leave(part: nn.Module, args: object, output: object) -> None:
            if get_ident() == own:
                self._stack.pop().out = _first_shape(output)

        handles = [
            torch_module.register_module_forward_pre_hook(enter),
            torch_module.register_module_forward_hook(leave, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def names(self) -> Iterator[None]:
        """Note in the body through which attributes functions are called, as `F.linear`."""
        own = get_ident()

        def named(name: str, function: Any) -> Any:
            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                if get_ident() != own:
                    return function(*args, **kwargs)
                self._spelled.append(name)
                try:
                    return function(*args, **kwargs)
                finally:
                    self._spelled.pop()

            return call

        undo: list[tuple[Any, str, Any]] = []
        try:
            for place, of, words in _ATTRIBUTES:
                for word in words.split():
                    undo.append((place, word, vars(place).get(word)))
                    setattr(place, word, named(f"{of}.{word}", getattr(place, word)))
            yield
        finally:
            for place, word, before in undo:
                if before is None:  # it is inherited
                    delattr(place, word)
                else:
                    setattr(place, word, before)

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Note a call of a function."""
        tensors = tensors_in((args, kwargs))
        call = Call(
            path=self.path,
            function=func._schema.name,
            overload=func._overloadname,
            operands=tuple(tuple(tensor.shape) for tensor in tensors),
            parameters=tuple(id(tensor) in self._parameters for tensor in tensors),
            arguments=_arguments(func, args, kwargs),
            out=(),
            hidden=_is_hidden(),
            spelled=tuple(self._spelled),
        )
        if self.backward:
            return self._first_made(call)
        (self.captured.events if self.inside else self.beside).append(call)
        if self.captured.trains:
            for key in _places(call):
                self._made[key].append(call)
        return call

    def _first_made(self, call: Call) -> Call:
        """Return the call of the forward pass that is made again, or this one if there is none."""
        for key in _places(call):
            # Blocks are recomputed from the last one on, each from its first call on.
            if self._made[key]:
                first = self._made[key][0]
                for own in _places(first):
                    self._made[own] = [one for one in self._made[own] if one is not first]
                return first
        self.beside.append(call)
        return call

    def functions_of(self, call: Call, result: object) -> None:
        """Note which of autograd's functions a call has made."""
        new = [one.grad_fn for one in tensors_in(result) if one.grad_fn is not None]
        while new:
            function = new.pop()
            if function in self._functions or function.name().endswith("AccumulateGrad"):
                continue
            self._functions[function] = call
            function.register_prehook(partial(self._enter, call))
            new += [one for one, _ in function.next_functions if one is not None]

    def _enter(self, call: Call, grads: object) -> None:
        self.open, self.again = call, False

    def note(self, call: Call, found: list[Product], operands: object) -> None:
        """Note the products of a kernel with these operands."""
        reads = any(one.untyped_storage()._cdata in self._storages for one in tensors_in(operands))
        if not self.backward:
            call.products += found
            call.reads_parameter |= bool(found) and reads
            return
        # The gradient of one operand is a product with the other.
        usual = Pass.BY_INPUT if reads or not call.reads_parameter else Pass.BY_WEIGHT
        part = Pass.RECOMPUTED if self.again else usual
        call.gradients += [one if one.part else replace(one, part=part) for one in found]

    def flow(self, call: Call, given: object, result: object) -> None:
        """Note which tensors a call reads and writes."""
        read, written = tensors_in(given), tensors_in(result)
        self._kept += [*read, *written]
        if call.function.endswith("_"):  # in place: others may hold what it changes
            written = [*written, *read[:1]]
        self._flow.append((call, [id(one) for one in read], [id(one) for one in written]))

    def find_unused(self, output: object) -> None:
        """Mark the calls on which nothing in the output depends."""
        needed = {id(one) for one in tensors_in(output)}
        for call, read, written in reversed(self._flow):
            call.used = call.function.endswith("_") or not needed.isdisjoint(written)
            if call.used:
                needed.update(read)

    def decide(self, function: str) -> None:
        """Note that the forward pass asks for a value."""
        self.captured.decided.append(f"{function} in {self.path or 'the model'}")


class _Written(SchemaCheckMode):
    """Mode of the functions that the author called.

    A mode of the pre-dispatch key has to be a subclass of one of torch's three.
    """

    def __init__(self, watch: _Watch) -> None:
        TorchDispatchMode.__init__(self, torch._C.DispatchKey.PreDispatch)
        self._dispatch_key = torch._C.DispatchKey.PreDispatch
        self._watch = watch

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        watch = self._watch
        if watch.backward and not torch.is_grad_enabled():  # a gradient is computed
            return func(*args, **(kwargs or {}))
        before = watch.open, watch.again
        call = watch.open = watch.call(func, args, kwargs or {})
        watch.again = watch.backward
        try:
            result = func(*args, **(kwargs or {}))
        finally:
            watch.open, watch.again = before
        if watch.captured.trains:
            watch.functions_of(call, result)
        if not watch.backward:
            call.out = _first_shape(result)
            watch.flow(call, (args, kwargs), result)
        return result


class _Kernels(TorchDispatchMode):
    """Mode of the kernels."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is _DEVICE:  # every other call: a fake tensor knows it
            return args[0].device
        watch, kwargs = self._watch, kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            watch.decide("item")
            if args[0].dtype is torch.bool:
                return watch.truth
            raise NeedsDataError(watch.path)
        result = func(*args, **kwargs)
        name = func._schema.name
        if name.startswith(("prim::", "profiler::")):
            return result
        call = watch.open
        if call is None:  # a kernel that is called below the pre-dispatch key
            call = watch.call(func, args, kwargs)
            call.out = _first_shape(result)
            if not watch.backward:
                watch.flow(call, (args, kwargs), result)
        found = products(func, args, kwargs, result)
        watch.note(call, found, multiplied(func, args))
        if watch.backward:
            if not found and not is_known(func) and name not in call.unknown:
                call.unknown.append(name)
            return result
        if not found and not is_known(func):
            call.unknown.append(name)
        if found or not moves(func):
            call.moves = False
        return result


def _places(call: Call) -> Iterator[tuple[Any, ...]]:
    """Yield what a call is known by when it is made again: its path, or else its operands alone."""
    yield call.path, call.function, call.operands
    yield call.function, call.operands


def _is_hidden() -> bool:
    """Return True if an `autograd.Function` is what calls, by any name that its `apply` has."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not capture.__code__:
        if frame.f_code is _APPLY:
            return True
        frame = frame.f_back
    return False


def tensors_in(value: object) -> list[Tensor]:
    """Return the tensors within nested lists, tuples and dictionaries, and outputs like them."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _first_shape(output: object) -> Shape:
    if isinstance(output, Tensor):
        return tuple(output.shape)
    if isinstance(output, dict):
        return _first_shape(list(output.values())[-1]) if output else ()
    if isinstance(output, list | tuple):
        return _first_shape(output[0]) if output else ()
    return ()


def _arguments(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return arguments by the names of the schema, tensors replaced by their shapes."""
    named = {
        argument.name: _plain(value)
        for argument, value in zip(func._schema.arguments, args, strict=False)
    }
    return {**named, **{name: _plain(value) for name, value in kwargs.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, list | tuple):
        return tuple(_plain(one) for one in value)
    return value
