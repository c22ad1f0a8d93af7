"""Ledger of a trace: every storage from the call that first returns it until it is freed."""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from vitprof.allocation.launches import Kind, Launch
from vitprof.running.departures import adds_gradients, as_eager, is_in_place, is_of_the_cpu
from vitprof.running.gpu_kernels import GpuKernels, statistics_in_fp32
from vitprof.running.launches import fused, launch_of
from vitprof.running.own_memory import own_memory, workspace
from vitprof.running.paths import Paths

if TYPE_CHECKING:
    from vitprof.cuda.platform import Platform

_DTYPE = "torch."
_DEVICE = torch.ops.prim.device.default
_TRUTH = torch.ops.aten._local_scalar_dense.default


@dataclass(slots=True)
class Booking:
    """Storage in the ledger.

    Attributes:
        number: its number, in the order of allocation; 0 if it lies in the memory of the CPU.
        bytes: its bytes.
        shape: shape of the tensor that it was allocated for.
        dtype: dtype of that tensor, as PyTorch names it: `float32`.
        begin: index of the event that allocated it.
        end: index of the event that freed it; None if it is not freed.
        kinds: kinds and paths in order, each with the first event from which it has them.
    """

    number: int
    bytes: int
    shape: tuple[int, ...]
    dtype: str
    begin: int
    end: int | None = None
    kinds: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Latest kind; empty if it is not booked."""
        return self.kinds[-1][1] if self.kinds else ""

    def at(self, event: int) -> tuple[str, str]:
        """Return kind and path after an event."""
        place = max(bisect_right(self.kinds, event, key=lambda one: one[0]) - 1, 0)
        return self.kinds[place][1:]


class Ledger(TorchDispatchMode):
    """Mode that books every storage.

    Args:
        on_gpu: emulate kernels and autocast of a GPU.
        platform: GPU whose kernels' own memory is booked too, as eager PyTorch takes it; None
            for the tensors of the trace alone.
        trains: autograd records the functions of the forward pass.

    Attributes:
        paths: paths of the submodules that run.
        is_built: True if the model is there: numbers that are made since are the CPU's.
        levels: bytes held at the beginning of each phase and after each allocation in it.
        functions: function that made each allocation of `levels`.
        instants: index of the event of each of `levels`; of the one before at a beginning.
        places: path of the submodule that ran at each of `levels`.
        events: number of an allocation and its bytes, negative if it is freed.
        bookings: storages by number, from 1.
        phases: the first event of each phase and the first after it.
        convolutions: level, path and largest workspace of each convolution, by phase.
        launches: launches of kernels, by phase, with a platform only.
    """

    def __init__(
        self, *, on_gpu: bool, platform: Platform | None = None, trains: bool = True
    ) -> None:
        super().__init__()
        self._trains = trains
        self._on_gpu = on_gpu
        self._platform = platform
        self.paths = Paths()
        self.is_built = False
        self.levels: dict[str, list[int]] = {}
        self.functions: dict[str, list[str]] = {}
        self.instants: dict[str, list[int]] = {}
        self.places: dict[str, list[str]] = {}
        self.events: list[tuple[int, int]] = []
        self.bookings: list[Booking] = []
        self.phases: dict[str, tuple[int, int]] = {}
        self.convolutions: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
        self.launches: dict[str, list[Launch]] = {}
        self.saved: dict[str, int] = {}
        self._live: dict[int, tuple[weakref.ref[torch.UntypedStorage], Booking]] = {}
        self._bytes = 0
        self._phase = self._running = ""
        self._next_in_place = False

    def around(self) -> GpuKernels:
        """Return the mode in which a GPU's functions are replaced."""
        in_place = None if self._platform is None else self._in_place
        return GpuKernels(self._platform, in_place, self._launched)

    def _launched(self, kind: Kind, *what: Any) -> None:
        """Note the launch of a fused kernel."""
        if self._platform is not None and self._phase:
            launch = fused(self.paths.now(), kind, *what, recorded=self._recording)
            self.launches[self._phase].append(launch)

    @property
    def _recording(self) -> bool:
        """True in a forward pass whose functions autograd records."""
        return self._trains and self._phase == "forward"

    def _is_there(self, tensor: Tensor) -> bool:
        """Return True if a tensor lies in the GPU's memory, False if it is a number of the CPU."""
        booking = self._booking(tensor)
        return booking is None or booking.number > 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book allocations in the body under a phase."""
        self._phase = name
        self.levels[name], self.functions[name] = [], []
        self.instants[name], self.places[name] = [], []
        self.convolutions[name] = []
        self.launches[name] = []
        self._running = ""
        begin = len(self.events)
        self._book(0, self.paths.now())
        yield
        self.phases[name] = begin, len(self.events)
        self._phase = ""

    def book(self, kind: str, tensors: Iterator[tuple[str, Tensor]]) -> None:
        """Book tensors that are there as a kind, each under a path."""
        for path, tensor in tensors:
            self._book_as(tensor, kind, path)

    def book_rest(self, kind: str, before: str) -> None:
        """Book everything that lives and is still of one kind as another kind."""
        for _, booking in self._live.values():
            if booking.kind == before:
                booking.kinds.append((len(self.events), kind, booking.kinds[-1][2]))

    def watch_gradients(self, module: nn.Module) -> None:
        """Book gradients as such when they are accumulated."""

        def booked(parameter: Tensor) -> None:
            if parameter.grad is not None:
                self._book_as(parameter.grad, "gradients", paths[id(parameter)])
                if self._platform is not None and self._phase:
                    launch = Launch(paths[id(parameter)], Kind.GRADIENT, 0, 0)
                    self.launches[self._phase].append(launch)

        paths = {}
        for path, parameter in module.named_parameters():
            paths[id(parameter)] = path.rpartition(".")[0]
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(booked)

    @contextmanager
    def watch_saved(self) -> Iterator[None]:
        """Book tensors that are saved in the body for the backward pass."""
        self.saved = {}
        with saved_tensors_hooks(self._pack, lambda packed: packed):
            yield

    def _pack(self, tensor: Tensor) -> Tensor:
        booking = self._booking(tensor)
        if booking is not None and booking.kind == "temporaries":
            path = self.paths.now()
            booking.kinds.append((len(self.events), "saved", path))
            self.saved[path] = self.saved.get(path, 0) + booking.bytes
        return tensor

    def _booking(self, tensor: Tensor) -> Booking | None:
        storage, booking = self._live.get(tensor.untyped_storage()._cdata, (None, None))
        return booking if storage is not None and storage() is not None else None

    def _book_as(self, tensor: Tensor, kind: str, path: str) -> None:
        booking = self._booking(tensor)
        if booking is not None and booking.number and booking.kind != kind:
            booking.kinds.append((len(self.events), kind, path))

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Let the next sum in the body be added in place."""
        self._next_in_place = True
        yield
        self._next_in_place = False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is _DEVICE:  # two calls of three: a fake tensor knows it
            return args[0].device
        if func is _TRUTH and args[0].dtype == torch.bool:
            return True  # such as whether all tokens of a batch count, which have no padding here
        alone = self._platform is not None and self._replaces(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if func.namespace == "prim":  # type: ignore[attr-defined]  # asks for a device
            return result
        self._running = str(func)
        if self._on_gpu:
            result = statistics_in_fp32(func, result)
        path = self.paths.now()
        if self._platform is None:
            tree_map_only(Tensor, lambda made: self._note(made, path), result)
            return result
        if self.is_built and is_of_the_cpu(func, result):
            self._follow(result.untyped_storage(), Booking(0, 0, (), "", 0))
            return result
        result = as_eager(func, args, result)
        if alone:
            self._take_over(args[0], result)
        tree_map_only(Tensor, lambda made: self._note(made, path), result)
        if self._phase:
            launch = launch_of(
                *(func, args, kwargs or {}, result),
                at=path,
                there=self._is_there,
                forward=self._phase == "forward",
                records=self._recording,
            )
            if launch is not None:
                self.launches[self._phase].append(launch)
        for held in own_memory(self._platform.gpu, func, args, result):
            self._take(held, path)
        most = workspace(func, args, result)
        if most and self._phase:
            self.convolutions[self._phase].append((self._bytes, path, most))
        return result

    def _replaces(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return True if eager PyTorch writes the result of a function into its first input."""
        if self._next_in_place and func is torch.ops.aten.add.Tensor:
            self._next_in_place = False
            return True
        return adds_gradients(func, args, kwargs) or is_in_place(func)

    def _take_over(self, old: Tensor, new: Tensor) -> None:
        """Let a new storage take the place of an old one, as if it were the same."""
        key, own = old.untyped_storage()._cdata, new.untyped_storage()
        if key == own._cdata or key not in self._live:
            return
        storage, booking = self._live[key]
        if storage() is None or own.nbytes() != booking.bytes:
            return
        del self._live[key]
        self._follow(own, booking)

    def _note(self, tensor: Tensor, path: str) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        known = self._live.get(key)
        if not size or (known is not None and known[0]() is not None):
            return
        booking = self._begin(size, path, tuple(tensor.shape), str(tensor.dtype))
        self._follow(storage, booking)
        self._book(size, path)

    def _begin(self, size: int, path: str, shape: tuple[int, ...], dtype: str) -> Booking:
        event, number = len(self.events), len(self.bookings) + 1
        booking = Booking(number, size, shape, dtype.removeprefix(_DTYPE), event)
        booking.kinds.append((event, "temporaries", path))
        self.bookings.append(booking)
        self.events.append((number, size))
        return booking

    def _follow(self, storage: torch.UntypedStorage, booking: Booking) -> None:
        """Free a booking with its storage, unless another storage has taken it over."""
        key = storage._cdata

        def end(reference: object) -> None:
            found = self._live.get(key)
            if found is not None and found[0] is reference:
                del self._live[key]
                if booking.number:
                    self._end(booking)

        self._live[key] = weakref.ref(storage, end), booking

    def _end(self, booking: Booking) -> None:
        self._bytes -= booking.bytes
        booking.end = len(self.events)
        self.events.append((booking.number, -booking.bytes))

    def _take(self, sizes: list[int], path: str) -> None:
        """Book buffers that are held together while a kernel runs."""
        taken = []
        for size in sizes:
            if size:
                taken.append(self._begin(size, path, (size,), "uint8"))
                self._book(size, path)
        for booking in taken:
            self._end(booking)

    def _book(self, size: int, path: str) -> None:
        self._bytes += size
        if self._phase:
            self.levels[self._phase].append(self._bytes)
            self.functions[self._phase].append(self._running)
            self.instants[self._phase].append(len(self.events) - 1)
            self.places[self._phase].append(path)
