"""The tree of a captured module: its submodules, and the ops that each of them runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from vitprof.captured.capture import Call, Captured, Entered
from vitprof.captured.written import Draft, Numbers, draft
from vitprof.formulas.layer import Layer, Leaf, join
from vitprof.formulas.op import BatchNorm, Conv, LayerNorm, Linear, Op, RMSNorm, Shape
from vitprof.modules.home import home_of
from vitprof.values.size import Size

if TYPE_CHECKING:
    from torch import nn

    from vitprof.captured.fit import Fitted

# Classes of torch whose single op tools read by rules of the op.
_OF_AN_OP = {
    "aten::linear": "Linear",
    "aten::addmm": "Linear",
    "aten::conv1d": "Conv",
    "aten::conv2d": "Conv",
    "aten::conv3d": "Conv",
    "aten::layer_norm": "LayerNorm",
    "aten::rms_norm": "RMSNorm",
    "aten::batch_norm": "BatchNorm",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """An op at its place.

    Attributes:
        name: last part of its path.
        type: class name of the submodule that computes it; empty if none does.
        draft: the op with numbers.
        fits: the closed form of each of its dimensions.
        caller: class in `torch.nn` of the module that calls it; empty if it has another class.
    """

    name: str
    type: str
    draft: Draft
    fits: tuple[tuple[Fitted, ...], ...] = ()
    caller: str = ""

    @property
    def shapes(self) -> tuple[Numbers, ...]:
        """Dimensions as numbers."""
        return self.draft.shapes

    @property
    def is_counted(self) -> bool:
        """True if it has multiply-accumulates, or a tool counts something of it."""
        return self.draft.is_counted

    @property
    def key(self) -> tuple[object, ...]:
        """Facts that another capture of the same op has in common with it."""
        return (self.name, self.type, self.caller, self.draft.key)

    def op(self, shapes: Sequence[Shape]) -> Op:
        """Return the op at dimensions as sizes."""
        made = self.draft.make(self.name, self.type, shapes)
        made.caller, made.spelled = self.caller, self.draft.spelled
        return made


@dataclass(frozen=True, slots=True)
class Outputs:
    """Outputs of a module without submodules that is no single op, and its parameters.

    Attributes:
        type: its class name.
        tensors: elements of each of its parameters, by name.
        shapes: shape of its output at each call.
        fits: the closed form of each of these dimensions.
    """

    type: str
    tensors: tuple[tuple[str, int], ...]
    shapes: tuple[Numbers, ...]
    fits: tuple[tuple[Fitted, ...], ...] = ()

    @property
    def is_counted(self) -> bool:
        """True: torchinfo counts its parameters."""
        return True

    @property
    def key(self) -> tuple[object, ...]:
        """Facts that another capture of the same module has in common with it."""
        return (self.type, self.tensors, tuple(len(shape) for shape in self.shapes))


@dataclass(frozen=True, slots=True)
class Part:
    """A module at its place.

    Attributes:
        name: last part of its path; of equal ones in a row, the first's.
        type: its class name.
        children: its submodules and ops, in the order of their first call.
        outputs: what tools read of it, if it has no submodules and is no single op.
        repeat: number of equal modules in a row.
        out: shape of the output of its first call.
        fast: True if torch may compute it by one function; see `vitprof.formulas.layer.Layer`.
        home: module that defines its class; empty if it is that of `torch.nn`.
    """

    name: str
    type: str
    children: tuple[Part | Piece, ...]
    outputs: Outputs | None = None
    repeat: int = 1
    out: Numbers = ()
    fast: bool = False
    home: str = ""

    def pieces(self) -> Iterator[Piece | Outputs]:
        """Yield all that has dimensions, in order."""
        if self.outputs is not None:
            yield self.outputs
        for child in self.children:
            if isinstance(child, Part):
                yield from child.pieces()
            else:
                yield child

    def faster(self, paths: Collection[str], path: str = "") -> Part:
        """Return the tree with the modules at these paths marked as fast."""
        children = tuple(
            child.faster(paths, join(path, child.name)) if isinstance(child, Part) else child
            for child in self.children
        )
        return replace(self, children=children, fast=path in paths)

    def fitted(self, fits: Iterator[tuple[tuple[Fitted, ...], ...]]) -> Part:
        """Return the same tree with the next of these closed forms at each piece."""
        outputs = None if self.outputs is None else replace(self.outputs, fits=next(fits))
        children = tuple(
            child.fitted(fits) if isinstance(child, Part) else replace(child, fits=next(fits))
            for child in self.children
        )
        return replace(self, outputs=outputs, children=children)

    def folded(self) -> Part:
        """Return the tree with equal modules in a row, numbered by their names, as one."""
        children = [child.folded() if isinstance(child, Part) else child for child in self.children]
        kept: list[Part | Piece] = []
        for _, group in groupby(enumerate(children), key=_row_of_equals):
            row = [child for _, child in group]
            first = row[0]
            kept.append(first if isinstance(first, Piece) else replace(first, repeat=len(row)))
        return replace(self, children=tuple(kept))

    def signature(self) -> tuple[object, ...]:
        """Return what two equal modules have in common, whatever their names are."""
        return (
            *(self.type, self.home, self.repeat, self.outputs, self.fast),
            *(
                (child.name, child.signature())
                if isinstance(child, Part)
                else (child.key, child.fits or child.shapes)
                for child in self.children
            ),
        )

    def layer(self, sizes: Callable[[Piece | Outputs], Sequence[Shape]]) -> Layer:
        """Return the tree as layers and ops.

        Args:
            sizes: returns the dimensions of a piece as sizes.
        """
        leaf = None
        if self.outputs is not None:
            leaf = Leaf(self.outputs.type, self.outputs.tensors, tuple(sizes(self.outputs)))
        children = tuple(
            child.layer(sizes) if isinstance(child, Part) else child.op(sizes(child))
            for child in self.children
        )
        repeat = Size(self.repeat) if self.repeat > 1 else None
        return Layer(
            *(self.name, self.type, children, repeat), leaf=leaf, fast=self.fast, home=self.home
        )


def _row_of_equals(place: tuple[int, Part | Piece]) -> tuple[object, ...]:
    """Return a key that consecutive equal modules share."""
    index, child = place
    if isinstance(child, Piece) or not child.name.isdigit():
        return (index,)
    return (int(child.name) - index, child.signature())


def sketch(module: nn.Module, captured: Captured) -> Part:
    """Return the tree of what a module did."""
    entered: dict[str, list[Entered]] = defaultdict(list)
    calls: dict[str, list[Call]] = defaultdict(list)
    order: dict[str, list[str | Call]] = defaultdict(list)  # children of a path, by first call
    known = {""}

    def meet(path: str) -> None:
        while path not in known:
            known.add(path)
            parent = path.rpartition(".")[0]
            order[parent].append(path)
            path = parent

    for event in captured.events:
        meet(event.path)
        if isinstance(event, Entered):
            entered[event.path].append(event)
        else:
            calls[event.path].append(event)
            order[event.path].append(event)
    modules = dict(module.named_modules())

    def part(path: str) -> Part | Piece:
        own, name = modules[path], path.rpartition(".")[2]
        type_, alone = type(own).__name__, next(own.children(), None) is None
        home = home_of(own)
        caller = "" if home else type_
        if path and alone and len(entered[path]) == 1:
            only = _only_op(own, calls[path], entered[path][0], captured, train=module.training)
            if only is not None:
                return Piece(name, type_, only, caller=caller)
        children: list[Part | Piece] = []
        names: Counter[str] = Counter()
        for child in order[path]:
            if isinstance(child, str):
                children.append(part(child))
                continue
            made = draft(child, alone=False, train=module.training, trains=captured.trains)
            if made is not None:
                names[made.name] += 1
                times = names[made.name]
                called = made.name if times == 1 else f"{made.name}_{times}"
                children.append(Piece(called, "", made, caller=caller))
        outputs = None
        tensors = tuple((key, value.numel()) for key, value in own.named_parameters())
        if alone and tensors:
            outputs = Outputs(type_, tensors, tuple(one.out for one in entered[path]))
        out = entered[path][0].out if entered[path] else ()
        return Part(name, type_, tuple(children), outputs, out=out, home=home)

    root = part("")
    assert isinstance(root, Part)
    return root


def _only_op(
    module: nn.Module, calls: Sequence[Call], entered: Entered, captured: Captured, *, train: bool
) -> Draft | None:
    """Return the op that is all that a module does, if tools read it by rules of the op."""
    made = (draft(call, alone=True, train=train, trains=captured.trains) for call in calls)
    drafts = [one for one in made if one is not None]
    tensors = {name: parameter.numel() for name, parameter in module.named_parameters()}
    if len(drafts) != 1:
        return None
    (only,) = drafts
    if not only.standard:
        return only if not tensors else None
    class_name = _OF_AN_OP.get(str(only.key[0]), "")
    if not class_name:
        return only if not tensors else None
    if set(tensors) - {"weight", "bias"}:  # there are none where a buffer is the weight
        return None
    if ("Conv" in type(module).__name__) != (class_name == "Conv"):
        return None
    ones = [tuple(Size(number) for number in shape) for shape in only.shapes]
    op = only.make("", class_name, ones)
    assert isinstance(op, BatchNorm | Conv | LayerNorm | Linear | RMSNorm)
    same = op.params.value == sum(tensors.values()) and op.shape[0].value == entered.out[0]
    return only if same and (not isinstance(op, Linear) or op.lead) else None
