"""Layers: the tree of ops, with the module paths of the torch model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import groupby, islice, product
from operator import attrgetter, itemgetter

from vitprof.formulas.op import FFT, Called, Op, Pass, Shape
from vitprof.values.numbers import in_a_word, listed
from vitprof.values.size import Size


class Measure(Enum):
    """A counted property of an op."""

    PARAMS = "params"
    MACS = "macs"
    TRAINING = "training_macs"  # of a tree of `vitprof.allocation.training`

    of: Callable[[Op], Size]  # the op's count, with its formula

    def __init__(self, name: str) -> None:
        self.of = attrgetter(name)


OF_FORWARD = (Measure.PARAMS, Measure.MACS)  # those that a model has without a step


@dataclass(frozen=True, slots=True)
class Leaf:
    """A torch module without submodules that does more, or otherwise, than a single op.

    Attributes:
        type: its class name.
        tensors: elements of each of its parameters, by name.
        outputs: shape of its output at each call.
    """

    type: str
    tensors: tuple[tuple[str, int], ...]
    outputs: tuple[Shape, ...]


@dataclass(slots=True)
class Layer:
    """A module with its ops and layers; immutable by convention, as an op is.

    Attributes:
        name: last part of the path; empty for the model itself.
        type: class name of the torch module.
        children: its ops and layers, in the order of the torch module.
        repeat: number of equal layers in a module list, numbered from `name`; None if it is
            a single layer.
        numbers: their numbers if others are between them; else empty.
        leaf: what tools read of a captured module without submodules; else None.
        fast: True if torch computes it by one function on a CPU, in eval mode and without
            gradients: an encoder layer, or an attention in it.
        reads: shapes of its inputs; empty if they are not known.
        out: shape of its output; None if it is not known.
        home: module that defines the class of a captured module; empty if it is that of `torch.nn`.
    """

    name: str
    type: str
    children: tuple[Layer | Op, ...]
    repeat: Size | None = None
    numbers: tuple[int, ...] = ()
    leaf: Leaf | None = None
    fast: bool = False
    reads: tuple[Shape, ...] = ()
    out: Shape | None = None
    home: str = ""
    # A cache, since many models can share equal layers.
    _total: dict[object, int] | None = field(default=None, repr=False, compare=False)

    def total(self, measure: Measure | Pass) -> int:
        """Return the count of this layer and all below it, times its repeats."""
        if self.repeat is None:
            return self.of_one(measure)
        totals = self._total
        if totals is None:
            totals = self._total = {}
        if measure.of not in totals:
            totals[measure.of] = self.of_one(measure) * self.repeat.value
        return totals[measure.of]

    def of_one(self, measure: Measure | Pass) -> int:
        """Return the count of one of the equal layers and all below it."""
        count, of, contractions = 0, measure.of, measure is not Measure.PARAMS
        for child in self.children:
            if isinstance(child, Layer):
                count += child.total(measure)
            elif not contractions or child.contracts:  # only contractions have MACs
                count += of(child).value
        return count

    def at(self, path: str) -> Layer | None:
        """Return the layer or op at a path, alone and as the root of a tree; None if none is there.

        Args:
            path: path of the torch submodule, `blocks.0.mixer`; equal layers each have their own.
        """
        for node in self.walk(fold=False):
            if node.path == path:
                found = node.item
                if isinstance(found, Op):
                    return Layer("", found.type, (found,))
                return replace(
                    found, name="", repeat=None, numbers=(), reads=(), out=None, _total=None
                )
        return None

    def places(self) -> Sequence[int]:
        """Return the numbers of the equal layers that it is, in their module list."""
        assert self.repeat is not None
        first = int(self.name)
        return self.numbers or range(first, first + self.repeat.value)

    def each(self, most: int | None = None) -> Iterator[Layer | Op]:
        """Yield its ops and layers in the order of the torch module, equal ones one by one.

        Args:
            most: how many of equal layers in a row are included; None for all.
        """
        members = [item for _, _, item in _members(self.children, fold=False)]
        for _, row in groupby(members, key=id):
            yield from islice(row, most)

    def walk(self, *, fold: bool) -> Iterator[Node]:
        """Yield this layer and all below it, parents first.

        Args:
            fold: yield equal layers once, named `0-11` or `0,2,4`, with how many they are as
                `repeat`.
        """
        yield from _walk((self,), parent="", level=0, repeat=1, fold=fold)

    def uncounted(self) -> Counter[str]:
        """Return the elements of work outside contractions, by kind of work."""
        total: Counter[str] = Counter()
        for node in self.walk(fold=True):
            if isinstance(node.item, Op):
                for work, elements in node.item.uncounted:
                    total[work] += elements.value * node.repeat
        return total

    def unknown(self) -> dict[str, dict[str, int]]:
        """Return the kernels for which there is no rule: times by path of the module."""
        found: dict[str, dict[str, int]] = {}
        for node in self.walk(fold=True):
            if isinstance(node.item, Called):
                path = node.path if node.item.module else node.path.rpartition(".")[0]
                for kernel in node.item.unknown:
                    places = found.setdefault(kernel, {})
                    places[path] = places.get(path, 0) + node.repeat
        return found

    def fft_flops(self) -> int:
        """Return the FLOPs of the Fourier transforms, which no count includes; see `FFT.flops`."""
        return sum(
            node.item.flops.value * node.repeat
            for node in self.walk(fold=True)
            if isinstance(node.item, FFT)
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A layer or an op at its place in the tree.

    Attributes:
        path: path from the root, equal to that of the torch submodule; `blocks.0-11.norm1`
            if equal layers are folded.
        level: depth below the root, which is 0.
        repeat: number of equal layers or ops that the node represents.
        item: the layer or op itself.
    """

    path: str
    level: int
    repeat: int
    item: Layer | Op

    @property
    def paths(self) -> list[str]:
        """Paths of all torch modules that the node represents."""
        paths = [""]
        for part in self.path.split("."):
            numbers = None if part.isdigit() else listed(part)
            names = [part] if numbers is None else [*map(str, numbers)]
            paths = [join(path, name) for path, name in product(paths, names)]
        return paths


def _walk(
    items: Sequence[Layer | Op], *, parent: str, level: int, repeat: int, fold: bool
) -> Iterator[Node]:
    for name, times, item in _members(items, fold=fold):
        path = join(parent, name)
        yield Node(path, level, repeat * times, item)
        if isinstance(item, Layer):
            yield from _walk(
                item.children, parent=path, level=level + 1, repeat=repeat * times, fold=fold
            )


def _members(items: Sequence[Layer | Op], *, fold: bool) -> Iterator[tuple[str, int, Layer | Op]]:
    """Yield name, number and item of each layer and op, in the order of the torch module."""
    if not fold and any(isinstance(item, Layer) and item.numbers for item in items):
        placed = [
            (number, item)
            for item in items
            if isinstance(item, Layer) and item.repeat is not None
            for number in item.places()
        ]
        for number, equal in sorted(placed, key=itemgetter(0)):
            yield str(number), 1, equal
        return
    for item in items:
        if isinstance(item, Op) or item.repeat is None:
            yield item.name, 1, item
        elif fold and item.repeat.value > 1:
            yield in_a_word(item.places()), item.repeat.value, item
        else:
            for number in item.places():
                yield str(number), 1, item


def equal_layers(layer: Layer, repeat: Size, numbers: tuple[int, ...] = ()) -> Layer:
    """Return a layer as several equal ones of a module list.

    Args:
        layer: one of them.
        repeat: how many they are.
        numbers: their numbers in the list, ascending; empty if they are all of it.
    """
    follow = not numbers or numbers[-1] - numbers[0] + 1 == len(numbers)
    return replace(
        layer,
        name=str(numbers[0]) if numbers else "0",
        repeat=repeat,
        numbers=() if follow else numbers,
        _total=None,
    )


def join(parent: str, name: str) -> str:
    """Return the path of `name` below `parent`."""
    return f"{parent}.{name}" if parent else name


def ancestors(path: str) -> list[str]:
    """Return the path of the model (empty), of each module around `path`, and `path` itself."""
    parts = path.split(".") if path else []
    return [".".join(parts[:end]) for end in range(len(parts) + 1)]
