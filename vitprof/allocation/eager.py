"""Eager PyTorch on paper: tensors without data, followed from allocation to allocation.

The methods here are the parts of ATen's functions: allocations, views, autograd's graph and
engine, autocast's casts, activation checkpointing. The allocations of each function, and the
tensors that it saves, are in `vitprof.allocation.kernels`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from vitprof.allocation.autograd import (
    Back,
    Boundary,
    Edge,
    EnoughError,
    Frame,
    Leaf,
    Node,
    Promise,
    Tensor,
    widest,
)
from vitprof.allocation.departures import EAGER, Departures
from vitprof.allocation.launches import Kind, Launch, Product, in_memory
from vitprof.allocation.strides import (
    Ints,
    contiguous,
    dense,
    elementwise,
    fake_view,
    is_dense,
    view,
)
from vitprof.allocation.timeline import BYTES, Storage, Timeline
from vitprof.cuda import reductions
from vitprof.cuda.convolutions import most_workspace
from vitprof.formulas.op import Pass, Shape
from vitprof.values.size import ONE, Size, product

if TYPE_CHECKING:
    from collections.abc import Callable

    from vitprof.cuda.platform import Platform
    from vitprof.request.workload import Workload

_SCALAR: tuple[Ints, Ints] = ((), ())


class Eager:
    """Step on paper.

    Attributes:
        timeline: storages of the step.
        dtype: dtype of contractions.
        weight_dtype: dtype of parameters.
        training: True in train mode, with gradients.
        autocast: True in mixed precision.
        on_gpu: True for the kernels and the autocast list of a GPU.
        departs: differences from a trace on fake tensors that are included.
        own_memory: True if the memory that kernels of the CPU take for themselves counts.
        platform: GPU and PyTorch whose kernels' own memory counts too; None for tensors alone.
        convolutions: each one that cuDNN may give a workspace: instant, path, most bytes.
        arriving: `added` to gradients that are there, `moved` into buckets, or `taken` over.
        buckets: True if each gradient is copied into a bucket when it is there.
        recomputing: the checkpointed block that is recomputed; None if none is.
        recompute: recomputes a checkpointed block.
        nodes: functions of the graph, in the order of their creation.
        watched: boundaries of equal blocks, by the function that makes a block's output.
        casts: copies of parameters that autocast keeps, with the parameter, by its id.
        products: number of products of matrices by path of the op and part of the step.
        rebuilt: number of backward kernels that compute a part of the forward pass again, by path.
        launching: True if launches of kernels are noted; takes half as long again.
        launches: launches of kernels, in order.
        by_phase: the same by phase.
        labels: label of each image.
    """

    def __init__(
        self,
        timeline: Timeline,
        workload: Workload,
        departures: Departures = EAGER,
        platform: Platform | None = None,
        *,
        first: bool = True,
        launching: bool = False,
    ) -> None:
        self.timeline = timeline
        self.platform = platform
        self.on_gpu = workload.device == "cuda"
        self.departs = departures
        self.own_memory = departures.kernels and not self.on_gpu
        self.dtype = workload.dtype
        self.weight_dtype = "fp32" if workload.autocast else workload.dtype
        self.training = not workload.inference
        self.autocast = workload.autocast
        self.checkpoint = workload.checkpoint
        self.arriving = "moved" if workload.ddp == "view" else "taken"
        self.buckets = workload.ddp != "none"
        if not first:
            self.arriving = "added"
        self.recomputing: Frame | None = None
        self.recompute: Callable[[Frame], None] = _nothing
        self.convolutions: list[tuple[int, str, int]] = []
        self.nodes: list[Node] = []
        self.watched: dict[Node, Boundary] = {}
        self.casts: dict[int, tuple[Tensor, Tensor]] = {}
        self.products: Counter[tuple[str, Pass]] = Counter()
        self.rebuilt: Counter[str] = Counter()
        self.launching = launching
        self.launches: list[Launch] = []
        self.by_phase: dict[str, list[Launch]] = {}
        self.labels: Tensor
        self._forward = False
        self._promising: Frame | None = None
        self._parameters = Storage(0, (), "", 0, "parameters", "")

    # Kernels

    def launch(
        self,
        kind: Kind,
        read: Sequence[Tensor],
        written: Sequence[Tensor],
        *,
        products: tuple[Product, ...] = (),
        own: Sequence[Tensor] = (),
    ) -> None:
        """Note the launch of a kernel on a GPU.

        Args:
            kind: kind of kernel.
            read: tensors that it reads.
            written: tensors that it writes; one that it changes in place is in both.
            products: contractions that it computes.
            own: tensors that it makes for itself, and reads.
        """
        if not self.launching:
            return
        self.launches.append(
            Launch(
                self.timeline.at,
                kind,
                _bytes((*read, *own)),
                _bytes((*written, *own)),
                products,
                (*read, *written)[0].dtype,
                self._recorded(*read),
                (*read, *written, *own, *own),
            )
        )

    def _recorded(self, *inputs: Tensor) -> bool:
        """Return True if autograd records a function of these inputs in the forward pass."""
        return self._forward and self.training and any(x.requires_grad for x in inputs)

    def made_view(self, x: Tensor) -> None:
        """Note that a function of the forward pass returns views of a tensor."""
        if self.launching and self._forward:
            recorded = self._recorded(x)
            self.launches.append(Launch(self.timeline.at, Kind.VIEW, 0, 0, recorded=recorded))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note the instants and the launches of the body under a name."""
        before = len(self.launches)
        self._forward = name == "forward"
        with self.timeline.phase(name):
            yield
        self._forward = False
        self.by_phase[name] = self.launches[before:]

    # Memory

    def new(self, sizes: Shape, dtype: str, strides: Ints | None = None) -> Tensor:
        """Allocate a tensor; contiguous if no strides are given."""
        values = [size.value for size in sizes]
        size = BYTES[dtype]
        for value in values:
            size *= value
        storage = self.timeline.allocate(size, sizes, dtype)
        return Tensor(
            sizes, contiguous(tuple(values)) if strides is None else strides, dtype, storage
        )

    def like(self, x: Tensor, dtype: str | None = None) -> Tensor:
        """Allocate a tensor with the strides of another one if it is dense: `empty_like`."""
        strides = x.strides if is_dense(x.shape, x.strides) else dense(x.shape, [x.strides])
        return self.new(x.sizes, dtype or x.dtype, strides)

    def elementwise(
        self,
        *inputs: Tensor,
        sizes: Shape | None = None,
        dtype: str | None = None,
        kind: Kind = Kind.ELEMENTWISE,
    ) -> Tensor:
        """Allocate the elementwise result of tensors.

        Args:
            inputs: the tensors, in the order of the kernel's arguments.
            sizes: shape of the result; None for that of the first input.
            dtype: dtype of the result; None for the one that PyTorch promotes to.
            kind: kind of kernel.
        """
        made = self.arranged(*inputs, sizes=sizes, dtype=dtype)
        self.launch(kind, inputs, (made,))
        return made

    def arranged(
        self, *inputs: Tensor, sizes: Shape | None = None, dtype: str | None = None
    ) -> Tensor:
        """Allocate a result with the strides of an elementwise one, as `elementwise` does."""
        sizes = inputs[0].sizes if sizes is None else sizes
        shape = tuple([size.value for size in sizes])
        strides = elementwise(shape, tuple([x.layout for x in inputs]))
        common = widest(*inputs)
        if not self.own_memory:
            return self.new(sizes, dtype or common, strides)
        # A kernel of the CPU reads a copy of an input that has another dtype.
        copies = [self.like(x, common) for x in inputs if x.dtype != common]
        made = self.new(sizes, dtype or common, strides)
        self.free(*copies)
        return made

    def with_scalar(
        self, x: Tensor, node: Node | None = None, *, kept: Sequence[Tensor] = ()
    ) -> Tensor:
        """Allocate the elementwise result of a tensor and a scalar.

        Args:
            x: the tensor.
            node: the function that saves the scalar; None if none does.
            kept: the scalar, if it has been saved.
        """
        layouts = (x.layout, _SCALAR) if self.departs.layouts else (x.layout,)
        scalar = [*kept] or self.scalar()
        copied = [self.new((), x.dtype) for _ in scalar]
        made = self.new(x.sizes, x.dtype, elementwise(x.shape, layouts))
        self.launch(Kind.ELEMENTWISE, (x,), (made,))
        self.free(*scalar, *copied)
        if node is not None:
            for one in scalar:
                self._keep_scalar(node, one)
        return made

    def _keep_scalar(self, node: Node, scalar: Tensor) -> None:
        """Save a scalar for the backward pass: checkpointing does not promise scalars."""
        self.hold(self._as_saved(scalar))
        if self.recomputing is None:
            node.saved.append(scalar)
        else:
            self.recomputing.kept.append(scalar)

    def scalar(self) -> list[Tensor]:
        """Allocate a scalar operand: on a CPU a tensor of 8 bytes; empty elsewhere."""
        return [self.new((), "int64")] if self.own_memory else []

    def copied(self, x: Tensor, dtype: str) -> Tensor:
        """Allocate a copy in another dtype with the strides of x if it is dense."""
        made = self.like(x, dtype)
        self.launch(Kind.COPY, (x,), (made,))
        return made

    def copies(self, *inputs: Tensor) -> list[Tensor]:
        """Allocate contiguous copies that a kernel reads in place of inputs that are not."""
        if not self.own_memory and self.platform is None:
            return []
        return [self.new(x.sizes, x.dtype) for x in inputs if not x.is_contiguous]

    def buffers(self, *bytes: int) -> list[Tensor]:
        """Allocate buffers of these bytes that a kernel of the CPU takes for itself."""
        if not self.own_memory:
            return []
        return [self.new((Size(some),), "bool") for some in bytes]

    def scratch(self, *bytes: int) -> None:
        """Allocate buffers of these bytes that a kernel of the GPU takes, and free them."""
        self.free(*[self.new((Size(some),), "bool") for some in bytes])

    def reduction(
        self, x: Tensor, dims: Sequence[int], *, result: str = "", kind: str = "sum"
    ) -> None:
        """Allocate the buffers that a reduction along axes takes on a GPU, and free them."""
        if self.platform is None:
            return
        accumulator, vector = reductions.widths(kind, BYTES[x.dtype])
        sizes = reductions.scratch(
            x.shape,
            x.strides,
            dims,
            element=BYTES[x.dtype],
            result=BYTES[result or x.dtype],
            gpu=self.platform.gpu,
            accumulator=accumulator,
            vector=vector,
        )
        for buffer, semaphores in zip(sizes[::2], sizes[1::2], strict=True):
            self.scratch(buffer, semaphores)

    def may_take_workspace(self, x: Tensor, y: Tensor, weight: Tensor) -> None:
        """Note a convolution for which cuDNN may choose a workspace when it runs."""
        if self.platform is not None and not (weight.shape[1] == 1 < x.shape[1]):
            elements = [product(one.sizes).value for one in (x, y, weight)]
            most = most_workspace(*elements, element=BYTES[x.dtype])
            self.convolutions.append((self.timeline.now, self.timeline.at, most))

    def in_place_with_scalar(self, x: Tensor) -> None:
        """Change a tensor in place by a scalar operand."""
        scalar = self.scalar()
        self.launch(Kind.ELEMENTWISE, (x,), (x,))
        self.free(x, *scalar, *[self.new((), x.dtype) for _ in scalar])

    def view(self, x: Tensor, sizes: Shape, strides: Ints) -> Tensor:
        """Return a view of a tensor with other axes, without a gradient."""
        y = Tensor(sizes, strides, x.dtype, x.storage)
        y.is_view = True
        return y

    def free(self, *tensors: Tensor) -> None:
        """Free tensors that only the current line holds: they were held until now."""
        for x in tensors:
            self.timeline.touch(x.storage)

    def hold(self, x: Tensor) -> Tensor:
        """Hold a tensor beyond the current line."""
        if not x.holders:
            x.storage.tensors += 1
        x.holders += 1
        return x

    def drop(self, x: Tensor) -> None:
        """Release a tensor that was held."""
        x.holders -= 1
        if not x.holders:
            x.storage.tensors -= 1
        self.timeline.touch(x.storage)

    def signature(self, x: Tensor) -> tuple[object, ...]:
        """Return all of a tensor that later allocations can depend on."""
        return (*x.layout, x.dtype, x.requires_grad, x.holders, x.storage.tensors, x.storage.bytes)

    # The graph

    def node(self, *inputs: Tensor) -> Node | None:
        """Return a function of these inputs; None if none of them requires a gradient."""
        if not self.training:
            return None
        for x in inputs:
            if x.requires_grad:
                break
        else:
            return None
        counting = self.recomputing is None
        edges: list[Edge | None] = []
        for x in inputs:
            if not x.requires_grad or x.node is None:
                edges.append(None)
                continue
            edges.append(Edge(x.node, x.slot, x.sizes, x.dtype))
            if counting and isinstance(x.node, Leaf):
                x.node.uses += 1
        node = Node(self.timeline.at, edges)
        if counting:
            self.nodes.append(node)
        return node

    def save(self, node: Node | None, *tensors: Tensor) -> None:
        """Save tensors for the backward pass of a function, if there is one.

        Raises:
            EnoughError: a recomputed block has made all that it promised.
        """
        if node is None:
            return
        for x in tensors:
            if self.recomputing is not None:
                frame = self.recomputing
                assert frame.made is not None
                frame.made.append(self.hold(self._as_saved(self.view(x, x.sizes, x.strides))))
                if len(frame.made) == frame.promises:
                    raise EnoughError
            elif self._promising is not None:
                frame = self._promising
                node.saved.append(Promise(frame, frame.promises))
                frame.promises += 1
                frame.left += 1
            else:
                node.saved.append(self.hold(self._as_saved(x)))

    def keep(self, x: Tensor) -> Tensor:
        """Save a tensor that a checkpointed block is recomputed from."""
        return self.hold(self._as_saved(x))

    def _as_saved(self, x: Tensor) -> Tensor:
        """Book a temporary tensor as saved; return it."""
        if x.storage.kind == "temporaries":
            self.timeline.book_as(x.storage, "saved")
        return x

    def contract(self, node: Node | None, *operands: Tensor) -> None:
        """Note a product of matrices, and one more for each operand that requires a gradient."""
        again = self.recomputing is not None
        self.products[self.timeline.at, Pass.RECOMPUTED if again else Pass.FORWARD] += 1
        if node is not None:
            node.products = [
                Pass.BY_WEIGHT if x.storage is self._parameters else Pass.BY_INPUT
                for x in operands
                if x.requires_grad
            ]

    def contract_fused(self, node: Node | None) -> None:
        """Note both products of a fused attention, which makes all gradients that it can."""
        self.contract(node)
        if node is not None:
            node.products = [Pass.BY_INPUT, Pass.BY_INPUT]
            node.rebuilds = True

    def made(self, y: Tensor, node: Node | None, inputs: Sequence[Tensor], back: Back) -> Tensor:
        """Return the output of a function; its inputs were held until now."""
        timeline = self.timeline
        now = timeline.now
        for x in inputs:
            x.storage.last = max(x.storage.last, now)
        if node is not None:
            self.pass_back(node, back)
            y.node, y.requires_grad = node, True
        return y

    def pass_back(self, node: Node, back: Back) -> None:
        """Set what makes the gradients of a function; one that is recomputed makes none."""
        if self.recomputing is None:
            node.back = back

    def viewed(self, y: Tensor, x: Tensor, back: Back) -> Tensor:
        """Return a view with its function, whose `back` makes the gradient of the tensor."""
        self.made_view(x)
        node = self.node(x)
        y.requires_grad = x.requires_grad
        if node is not None:
            self.pass_back(node, back)
            y.node = node
        return y

    # Casts

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        """Return a copy in another dtype, whose gradient is cast back; x itself if it has it."""
        if x.dtype == dtype:
            return x
        node = self.node(x)
        return self.made(self.copied(x, dtype), node, (x,), lambda grads, saved: grads)

    def to_autocast_dtype(self, x: Tensor) -> Tensor:
        """Return x as autocast casts it for contractions; copies of parameters are cached."""
        if not self.autocast or x.dtype != "fp32":
            return x
        if not (x.leaf and x.requires_grad):
            return self.cast(x, self.dtype)
        if id(x) not in self.casts:
            copied = self.cast(x, self.dtype)
            copied.requires_grad = x.requires_grad
            self.casts[id(x)] = x, self.hold(copied)
        return self.casts[id(x)][1]

    def to_float32(self, x: Tensor) -> Tensor:
        """Return x as autocast casts it for ops in fp32, which it has on a GPU only."""
        return self.cast(x, "fp32") if self.autocast and self.on_gpu else x

    def widened(self, x: Tensor) -> str:
        """Return the dtype that a GPU kernel writes under autocast if it reads 16 bits itself."""
        return "fp32" if self.autocast and self.platform is not None else x.dtype

    def leave_autocast(self) -> None:
        """Release the copies of parameters that autocast has cached."""
        for _, copied in self.casts.values():
            self.drop(copied)
        self.casts = {}

    # Parameters

    def parameter(self, sizes: Shape, *, trained: bool = True, dtype: str | None = None) -> Tensor:
        """Return a parameter of the op that runs, which is there before the step."""
        strides = contiguous(tuple([size.value for size in sizes]))
        x = Tensor(sizes, strides, dtype or self.weight_dtype, self._parameters)
        x.leaf = True
        if trained:
            x.requires_grad = True
            x.node = Leaf(self.timeline.at, x.shape, strides)
        return x

    def input(self, sizes: Shape, dtype: str) -> Tensor:
        """Return an input, which is there before the step."""
        size = product((*sizes, Size(BYTES[dtype])))
        storage = self.timeline.there(size, "inputs")
        return Tensor(sizes, contiguous(tuple([size.value for size in sizes])), dtype, storage)

    # The backward pass

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass from a loss."""
        assert loss.node is not None
        self.timeline.at = "loss"
        seed = self.hold(self.new((), loss.dtype))  # held until the end
        self.launch(Kind.ELEMENTWISE, (), (seed,))
        loss.node.grads = [self.hold(seed)]
        while self.nodes:
            node = self.nodes.pop()
            if any(grad is not None for grad in node.grads):
                self._run(node)
            else:
                self._release(node)
            node.back, node.edges = None, ()  # a graph is cycles, which only a collector frees
        self.drop(seed)
        self.recompute = _nothing

    def _run(self, node: Node) -> None:
        self.timeline.at = node.at
        incoming, node.grads = node.grads, []
        boundary = self.watched.get(node)
        if boundary is not None:
            boundary.instant = self.timeline.now
            boundary.gradient = [grad and self.signature(grad) for grad in incoming]
        assert node.back is not None
        for part in node.products:
            self.products[node.at, part] += 1
        if node.rebuilds:
            self.rebuilt[node.at] += 1
        saved = [self._unpack(kept) for kept in node.saved]
        self.timeline.at = node.at
        outgoing: list[tuple[Tensor, Edge]] = [
            (self.hold(grad), edge)
            for grad, edge in zip(node.back(incoming, saved), node.edges, strict=True)
            if grad is not None and edge is not None
        ]
        for kept, promised in zip(saved, node.saved, strict=True):
            if isinstance(promised, Promise):
                self.drop(kept)
        outgoing = [(self._validated(grad, edge), edge) for grad, edge in outgoing]
        for grad in incoming:
            if grad is not None:
                self.drop(grad)
        self._release(node)
        added = [grad for grad, edge in outgoing if not self._arrives(grad, edge)]
        for grad in added:  # is held until all have arrived (`evaluate_function` in engine.cpp)
            self.drop(grad)
        for each in node.edges:
            if each is not None and isinstance(each.node, Leaf):
                each.node.uses -= 1
                if not each.node.uses:
                    self._hand_over(each.node)

    def _release(self, node: Node) -> None:
        """Release the tensors that a function has saved."""
        for kept in node.saved:
            if not isinstance(kept, Promise):
                self.drop(kept)
                continue
            frame = kept.frame
            frame.left -= 1
            if not frame.left and frame.inputs:
                self.let_go(frame)
        node.saved = []

    def let_go(self, frame: Frame) -> None:
        """Release the tensors that a checkpointed block would be recomputed from."""
        for held in (*frame.inputs.values(), *frame.generator):
            self.drop(held)
        frame.inputs = {}

    def _unpack(self, kept: Tensor | Promise) -> Tensor:
        if not isinstance(kept, Promise):
            return kept
        frame = kept.frame
        if frame.made is None:
            frame.made = []
            self.recompute(frame)
        made = frame.made[kept.index]
        assert made is not None
        frame.made[kept.index] = None
        return made

    def _validated(self, grad: Tensor, edge: Edge) -> Tensor:
        """Return a gradient summed and cast to the shape and dtype of the input it belongs to."""
        shape = tuple([size.value for size in edge.sizes])
        if grad.shape != shape:
            grad = self._replaced(grad, self.sum_to(grad, edge.sizes))
        if grad.dtype != edge.dtype:
            grad = self._replaced(grad, self.copied(grad, edge.dtype))
        return grad

    def _replaced(self, old: Tensor, new: Tensor) -> Tensor:
        self.hold(new)
        self.drop(old)
        return new

    def sum_to(self, x: Tensor, sizes: Shape) -> Tensor:
        """Allocate the sum over the axes that a smaller tensor was expanded along: `at::sum_to`."""
        leading = len(x.sizes) - len(sizes)
        reduced = [*range(leading)] + [
            leading + place
            for place, size in enumerate(sizes)
            if size.value == 1 and x.shape[leading + place] != 1
        ]
        if not reduced:
            return x
        kept = tuple(ONE if place in reduced else size for place, size in enumerate(x.sizes))
        total = self.summed(x, kept, reduced)
        self.free(x)
        if not leading:
            return total
        strides = self.reshaped(total, sizes)
        assert strides is not None
        return self.view(total, sizes, strides)

    def summed(
        self, x: Tensor, sizes: Shape, dims: Sequence[int], dtype: str | None = None
    ) -> Tensor:
        """Allocate a sum along axes.

        A kernel of the CPU sums 16 bits in fp32, from a copy, if two of the axes are not
        contiguous with each other (`should_use_acc_buffer` in ReduceOps.cpp).
        """
        total = self.new(sizes, dtype or x.dtype)
        self.launch(Kind.REDUCTION, (x,), (total,))
        self.reduction(x, dims, result=total.dtype)
        self.free(total)
        if self.own_memory and x.dtype in ("bf16", "fp16"):
            axes = sorted((x.strides[dim], x.shape[dim]) for dim in dims if x.shape[dim] != 1)
            if any(inner * size != outer for (inner, size), (outer, _) in pairwise(axes)):
                self.free(self.new(sizes, "fp32"), self.like(x, "fp32"))
        return total

    def compared(self, x: Tensor) -> Tensor:
        """Allocate the comparison of a tensor with a scalar."""
        scalar = self.scalar()
        copied = [self.new((), x.dtype) for _ in scalar if x.dtype != "int64"]
        made = self.elementwise(x, dtype="bool")
        self.free(x, *scalar, *copied)
        return made

    def reshaped(self, x: Tensor, sizes: Shape) -> Ints | None:
        """Return the strides of a view with other axes; None if that takes a copy."""
        shape = tuple([size.value for size in sizes])
        strides = view(x.shape, x.strides, shape)
        if strides is None or self.departs.layouts:
            return strides
        return fake_view(x.shape, x.strides, shape)

    def _arrives(self, grad: Tensor, edge: Edge) -> bool:
        """Return True if a gradient is the first to arrive, and else add it to those that have."""
        grads = edge.node.grads
        while len(grads) <= edge.slot:
            grads.append(None)
        old = grads[edge.slot]
        if old is None:
            grads[edge.slot] = grad
            return True
        self.timeline.at = edge.node.at
        alone = old.holders == 1 and old.storage.tensors == 1 and not old.is_view
        alone = alone and is_dense(*old.layout)
        if alone and self.departs.sums:
            self.launch(Kind.ELEMENTWISE, (old, grad), (old,))
            return False
        total = self.hold(self.elementwise(old, grad))
        self.drop(old)
        grads[edge.slot] = total
        return False

    def _hand_over(self, leaf: Leaf) -> None:
        """Accumulate the gradient of a parameter, if one has arrived."""
        grad = leaf.grads[0]
        if grad is None:
            return
        self.timeline.at = leaf.at
        self._accumulate(leaf, grad)
        if self.launching:
            self.launches.append(Launch(leaf.at, Kind.GRADIENT, 0, 0))

    def _accumulate(self, leaf: Leaf, grad: Tensor) -> None:
        """Accumulate the gradient of a parameter.

        A gradient that is there is added to in place; a bucket takes a copy (`AccumulateGrad` in
        accumulate_grad.h, `mark_variable_ready_dense` in reducer.cpp).
        """
        if self.arriving == "added":
            self.launch(Kind.ELEMENTWISE, (grad, grad), (grad,))  # one of them is there
            self._bucket(grad)
            self.drop(grad)
            return
        same = all(
            size == 1 or own == other
            for size, own, other in zip(leaf.shape, grad.strides, leaf.strides, strict=True)
        )
        if grad.holders > 1 or not same:
            copied = self.hold(self.new(grad.sizes, grad.dtype, leaf.strides))
            self.launch(Kind.COPY, (grad,), (copied,))
            self.drop(grad)
            grad = copied
        self._bucket(grad)
        if self.arriving == "moved":
            self.drop(grad)
            return
        self.timeline.book_as(grad.storage, "gradients")
        self.timeline.keep(grad.storage)

    def _bucket(self, grad: Tensor) -> None:
        """Copy a gradient into its bucket, if there are buckets."""
        if self.buckets:
            self.launch(Kind.COPY, (grad,), (grad,))

    # Checkpointing

    @contextmanager
    def promising(self, frame: Frame) -> Iterator[None]:
        """Run the body as a checkpointed block, which promises what its functions save."""
        self._promising = frame
        yield
        self._promising = None


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum([in_memory(x.shape, x.strides) * BYTES[x.dtype] for x in tensors])


def _nothing(frame: Frame) -> None:
    raise AssertionError("there is no program to run a block of again")
