"""Probing of a module: captures at several sizes, and the closed forms that follow from them."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vitprof.captured.capture import Captured, capture
from vitprof.captured.copies import copy_of
from vitprof.captured.failures import explain
from vitprof.captured.fit import BATCH, Fitted, fit
from vitprof.captured.source import BATCH_AXIS, DTYPES, Input, Source, spell_input
from vitprof.captured.tree import Outputs, Part, Piece, sketch
from vitprof.errors import SpecError
from vitprof.formulas.layer import Layer
from vitprof.formulas.op import Shape
from vitprof.values.size import Size

if TYPE_CHECKING:
    from torch import nn

_BATCHES = (2, 3, 5)  # never 1, at which axes vanish
_IMAGE_STEPS = (16, 32, 14, 224, 64)
_TOKEN_STEPS = (1, -1, 16, -16)
_CALLS = 6_000  # that may be captured in vain before the sizes are left as they are
_FAST = {"aten::_transformer_encoder_layer_fwd", "aten::_native_multi_head_attention"}
Values = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Variable:
    """A size of the inputs that can be varied.

    Attributes:
        name: `H`, `W`, or `S` of square images, or `N` of tokens.
        value: its value as the module comes.
        step: the formulas hold for this value plus any multiple of it.
        places: numbers of inputs and axes that it is the length of.
    """

    name: str
    value: int
    step: int
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Template:
    """Tree of a module with the closed form of each dimension.

    Attributes:
        root: the tree; without closed forms, its numbers hold for the given batch alone.
        batch: the batch that it holds for; 0 if it holds for any.
        variables: sizes that its formulas depend on, other than the batch.
        names: name of each closed form that has one, `N`.
        decided: places at which the forward pass asks for the truth of a tensor.
        is_whole: True if the formulas at other sizes are of all work, False if only of what a
            tool counts.
    """

    root: Part
    batch: int
    variables: tuple[Variable, ...] = ()
    names: Mapping[Fitted, str] = field(default_factory=dict)
    decided: tuple[str, ...] = ()
    is_whole: bool = True

    @property
    def grows(self) -> bool:
        """True if no dimension gets smaller with a size of the inputs."""
        return all(
            coefficient >= 0
            for fitted in self._fits
            for monomial, coefficient in fitted.terms
            if monomial
        )

    def is_positive(self, values: Mapping[str, Any]) -> Any:
        """Return True if all dimensions are positive at sizes, which may be arrays."""
        sizes = {name: Size(value, name) for name, value in values.items()}
        positive: Any = True
        for fitted in self._fits:
            if fitted.variables - {BATCH}:
                positive = positive & (fitted.size(sizes).value > 0)
        return positive

    @property
    def _fits(self) -> set[Fitted]:
        return {fitted for piece in self.root.pieces() for shape in piece.fits for fitted in shape}

    def layer(self, values: Mapping[str, Any]) -> Layer:
        """Return the tree of ops at sizes, which may be arrays.

        Args:
            values: value of each variable, the batch `B` among them.
        """
        sizes = {name: Size(value, name) for name, value in values.items()}
        known: dict[Fitted, Size] = {}

        def size(fitted: Fitted) -> Size:
            if fitted not in known:
                known[fitted] = self._named(fitted, sizes)
            return known[fitted]

        def shapes(piece: Piece | Outputs) -> Sequence[Shape]:
            if not piece.fits and piece.shapes:
                return [tuple(Size(number) for number in shape) for shape in piece.shapes]
            return [tuple(size(one) for one in shape) for shape in piece.fits]

        return self.root.layer(shapes)

    def _named(self, fitted: Fitted, sizes: Mapping[str, Size]) -> Size:
        rest = fitted.without_batch()
        if rest is not None:
            return sizes[BATCH] * self._named(rest, sizes) if rest.terms != _ONE else sizes[BATCH]
        made = fitted.size(sizes)
        return made.named(self.names[fitted]) if fitted in self.names else made

    def legend(self, values: Mapping[str, int]) -> dict[str, Size]:
        """Return the arithmetic of each name at sizes."""
        sizes = {name: Size(value, name) for name, value in values.items()}
        return {name: fitted.size(sizes) for fitted, name in self.names.items()}


_ONE = fit([1], [{BATCH: 1}]).terms  # type: ignore[union-attr]  # a number always fits


def probe(source: Source, *, train: bool) -> Template:
    """Capture a module at several sizes and find the closed form of each dimension.

    Args:
        source: where the module comes from.
        train: capture it in train mode.

    Raises:
        SpecError: it cannot be captured.
    """
    probing = _Probing(source, train=train)
    first = probing.sketch({BATCH: _BATCHES[0]}, ())
    alone = (source.batch or 1, *_BATCHES)
    if isinstance(first, Exception):
        return _at_one(probing, alone)
    base = [{BATCH: number} for number in _BATCHES]
    for variables in probing.variables():
        points = [*base, *_points(variables)]
        if variables and probing.calls > _CALLS:
            continue
        default = {one.name: one.value for one in variables}
        root = probing.fitted([{**default, **point} for point in points], variables)
        if root is not None:
            return Template(
                root.faster(probing.fast_paths()).folded(),
                0,
                variables,
                _names(root, bool(variables) and variables[0].name == "N"),
                probing.decided,
                probing.is_whole,
            )
    return _at_one(probing, alone)


def numbers_at(source: Source, *, train: bool, batch: int) -> Template:
    """Return the tree of a module at one batch, whose dimensions are numbers.

    Raises:
        SpecError: it cannot be captured at this batch.
    """
    return _at_one(_Probing(source, train=train), (batch,))


def _at_one(probing: _Probing, batches: Sequence[int]) -> Template:
    """Return the tree at the first of some batches at which the module runs."""
    errors = []
    for batch in batches:
        only = probing.sketch({BATCH: batch}, ())
        if not isinstance(only, Exception):
            root = only.faster(probing.fast_paths(batch)).folded()
            return Template(root, batch, decided=probing.decided)
        errors.append(only)
    raise explain(probing.source.reference, errors[0]) from errors[0]


def points_of(variables: Sequence[Variable]) -> list[dict[str, int]]:
    """Return sizes of the inputs at which a polynomial of them can be found and verified."""
    base = {one.name: one.value for one in variables}
    return [{**base, BATCH: 2}, *({**base, **point} for point in _points(variables))]


def _points(variables: Sequence[Variable]) -> Iterator[dict[str, int]]:
    """Yield sizes that determine a polynomial of these variables, and more to verify it at."""
    if len(variables) == 2:
        h, w = variables
        one, two = h.value + h.step, h.value + 9 * h.step
        beside, far = w.value + w.step, w.value + 8 * w.step
        yield {BATCH: 2, h.name: one, w.name: w.value}
        yield {BATCH: 2, h.name: h.value, w.name: beside}
        yield {BATCH: 2, h.name: one, w.name: beside}
        yield {BATCH: 3, h.name: two, w.name: far}
    for only in variables if len(variables) == 1 else ():
        for times, number in ((1, 2), (2, 2), (7, 3)):
            yield {BATCH: number, only.name: only.value + times * only.step}


def _names(root: Part, taken: bool) -> dict[Fitted, str]:
    """Name each closed form of the image's size that is no length of a side, the usual first."""
    times: Counter[Fitted] = Counter()
    for piece in root.pieces():
        for shape in piece.fits:
            for fitted in shape:
                rest = fitted.without_batch() or fitted
                if any(len(monomial) > 1 for monomial, _ in rest.terms):
                    times[rest] += 1
    letter = "P" if taken else "N"
    return {
        fitted: letter if place == 0 else f"{letter}{place + 1}"
        for place, (fitted, _) in enumerate(times.most_common())
    }


def _keys(pieces: Sequence[Piece | Outputs]) -> list[object]:
    return [one.key for one in pieces if one.is_counted]


def _keys_differ(captures: Sequence[Sequence[Piece | Outputs]]) -> bool:
    keys = [[one.key for one in own] for own in captures]
    return any(own != keys[0] for own in keys)


class _Probing:
    """Captures of one module at several sizes.

    Attributes:
        decided: places at which the forward pass asked for the truth of a tensor.
        calls: number of calls captured at sizes other than those that the module comes with.
        is_whole: True if the closed forms are of all work, False if of what a tool counts.
    """

    def __init__(self, source: Source, *, train: bool) -> None:
        self.source = source
        self.train = train
        self.decided: tuple[str, ...] = ()
        self.calls = 0
        self.is_whole = True
        self._sketches: dict[tuple[object, ...], Part | Exception] = {}
        self._built: dict[str, tuple[FakeTensorMode, nn.Module]] = {}

    def variables(self) -> Iterator[tuple[Variable, ...]]:
        """Yield the sizes that may be varied together, the most telling ones first."""
        inputs = self.source.inputs
        images = [place for place, one in enumerate(inputs) if _is_image(one)]
        if images:
            height, width = (int(inputs[images[0]].axes[axis]) for axis in (2, 3))
            of_height = tuple((place, 2) for place in images)
            of_width = tuple((place, 3) for place in images)
            for step in _IMAGE_STEPS:
                yield (
                    Variable("H", height, step, of_height),
                    Variable("W", width, step, of_width),
                )
            if height == width:
                for step in _IMAGE_STEPS:
                    yield (Variable("S", height, step, of_height + of_width),)
        lengths = [(place, 1) for place, one in enumerate(inputs) if _has_tokens(one)]
        if lengths:
            place, axis = lengths[0]
            tokens = inputs[place].axes[axis]
            same = tuple(
                (number, at)
                for number, one in enumerate(inputs)
                for at, length in enumerate(one.axes)
                if length == tokens and (number, at) != (place, axis) and number != place
            )
            for step in _TOKEN_STEPS:
                if int(tokens) + 7 * step > 0:
                    yield (Variable("N", int(tokens), step, ((place, axis), *same)),)
        yield ()

    def fitted(self, points: Sequence[Values], variables: Sequence[Variable]) -> Part | None:
        """Return the tree with closed forms; None if some dimension has none.

        Where work that no tool counts comes and goes with the size, as the masks of windows do,
        its closed forms are those of the batch alone.
        """
        sketches, pieces = [], []
        for point in points:
            found = self.sketch(point, variables)
            if isinstance(found, Exception):
                return None
            sketches.append(found)
            pieces.append(list(found.pieces()))
            if _keys(pieces[-1]) != _keys(pieces[0]):
                return None
        first, cache = pieces[0], dict[tuple[tuple[int, ...], int], Fitted | None]()
        alike = all([one.key for one in own] == [one.key for one in first] for own in pieces)
        counted = [iter([one for one in own if alike or one.is_counted]) for own in pieces]
        batches = len(_BATCHES)
        fits = []
        for place, piece in enumerate(first):
            if alike or piece.is_counted:
                same, number = [next(own) for own in counted], len(points)
            elif _keys_differ(pieces[:batches]):
                return None
            else:
                same, number = [own[place] for own in pieces[:batches]], batches
            shapes = []
            for axes in zip(*(one.shapes for one in same), strict=True):
                shape = []
                for values in zip(*axes, strict=True):
                    if (values, number) not in cache:
                        cache[values, number] = fit(values, points[:number])
                    found_fit = cache[values, number]
                    if found_fit is None:
                        return None
                    shape.append(found_fit)
                shapes.append(tuple(shape))
            fits.append(tuple(shapes))
        self.is_whole = alike
        return sketches[0].fitted(iter(fits))

    def sketch(self, point: Values, variables: Sequence[Variable]) -> Part | Exception:
        """Return the tree of a capture at a point, or the exception that it raised."""
        source = at_sizes(self.source, variables, point)
        key = (_key(source), source.inputs, point[BATCH])
        if key not in self._sketches:
            try:
                made = self._sketches[key] = self._sketch(source, point[BATCH])
                if source is not self.source:
                    self.calls += sum(1 for _ in made.pieces())
            except SpecError as error:
                if source is self.source:
                    raise
                self._sketches[key] = error  # it cannot be built for this size
            except Exception as error:  # of any code of the module's author
                self._sketches[key] = error
        return self._sketches[key]

    def _sketch(self, source: Source, batch: int) -> Part:
        mode, module = self._fake(source)
        with mode, quietly():
            args, kwargs = arguments(source.inputs, batch, device="cpu")
            captured = capture(module, args, kwargs)
            if captured.decided:
                self._compare(captured, capture(module, args, kwargs, truth=False))
        return sketch(module, captured)

    def fast_paths(self, batch: int = _BATCHES[0]) -> set[str]:
        """Return the paths of modules that torch may compute by one function."""
        kinds = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer)
        mode, module = self._fake(self.source)
        paths: set[str] = set()
        if self.train or not any(isinstance(part, kinds) for part in module.modules()):
            return paths
        if not torch.backends.mha.get_fastpath_enabled():
            return paths
        with mode, quietly():
            args, kwargs = arguments(self.source.inputs, batch, device="cpu")
            try:
                whole = capture(module, args, kwargs, fast=True)
            except Exception:  # a padding mask makes nested tensors, and there are no fake ones
                return {path for path, part in module.named_modules() if isinstance(part, kinds[1])}
            # A hook keeps an encoder layer, but not its attention, from its fast path.
            layers = [part for part in module.modules() if isinstance(part, kinds[1])]
            hooks = [part.register_forward_hook(lambda *_: None) for part in layers]
            parts = capture(module, args, kwargs, fast=True)
            for hook in hooks:
                hook.remove()
        return {
            call.path
            for captured in (whole, parts)
            for call in captured.calls
            if call.function in _FAST
        }

    def _compare(self, captured: Captured, other: Captured) -> None:
        self.decided = tuple(dict.fromkeys(captured.decided))
        if captured.macs != other.macs:
            raise SpecError(
                f"{self.source.reference} decides by values of its input ({self.decided[0]}), "
                f"with {captured.macs:,} MACs if true and {other.macs:,} if false; give a module "
                "that does not, such as the part after the decision"
            )

    def _fake(self, source: Source) -> tuple[FakeTensorMode, nn.Module]:
        """Return the module on fake tensors, built once for each source."""
        key = _key(source)
        if key not in self._built:
            built = build_without_data(source).train(self.train)
            mode = FakeTensorMode()
            with mode:
                module = copy_of(built, device="cpu")
            self._built[key] = mode, module.requires_grad_(False)
        return self._built[key]


def at_sizes(source: Source, variables: Sequence[Variable], point: Values) -> Source:
    """Return a source whose inputs have other sizes, rebuilt for them where that is needed."""
    changed = {one.name for one in variables if point.get(one.name, one.value) != one.value}
    if not changed:
        return source
    names = {one.name for one in variables}
    if "H" in names:
        source = source.resized(point["H"], point["W"]) or source
    elif "S" in names:
        source = source.resized(point["S"], point["S"]) or source
    inputs = [list(one.axes) for one in source.inputs]
    for one in variables:
        for place, axis in one.places:
            inputs[place][axis] = point.get(one.name, one.value)
    axes = tuple(
        replace(one, axes=tuple(own)) for one, own in zip(source.inputs, inputs, strict=True)
    )
    return _With(source, axes)


def returns_rows(source: Source, *, train: bool) -> bool:
    """Return True if a module returns a row of numbers per image; False if it cannot be run."""
    found = _Probing(source, train=train).sketch({BATCH: _BATCHES[0]}, ())
    return isinstance(found, Part) and len(found.out) == 2 and found.out[0] == _BATCHES[0]


def _key(source: Source) -> str:
    return str(sorted(source.conditions().items(), key=str))


@dataclass(frozen=True)
class _With:
    """A source with other inputs."""

    source: Source
    inputs: tuple[Input, ...]

    @property
    def reference(self) -> str:
        return self.source.reference

    @property
    def batch(self) -> int | None:
        return self.source.batch

    def conditions(self) -> Mapping[str, Any]:
        return self.source.conditions()

    def words(self) -> dict[str, object]:
        return {**self.source.words(), "input": [spell_input(one) for one in self.inputs]}

    def build(self) -> nn.Module:
        return self.source.build()

    def resized(self, height: int, width: int) -> Source | None:
        return self.source.resized(height, width)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep what a module's code, its library and torch print or log out of the output."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    silenced, disabled = logger.disabled, logging.root.manager.disable
    logger.disabled = True
    try:
        with (
            warnings.catch_warnings(),
            torch.inference_mode(mode=False),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            logging.disable()  # its handlers know the streams from before
            yield
    finally:
        logger.disabled = silenced
        logging.disable(disabled)


def build_without_data(source: Source) -> nn.Module:
    """Build a module on the meta device, or with its data where it cannot be built there."""
    with torch.inference_mode(mode=False):
        try:
            with torch.device("meta"):
                return source.build()
        except SpecError:
            return source.build()


def arguments(
    inputs: Sequence[Input], batch: int, *, device: str, dtype: torch.dtype | None = None
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Return tensors of zeros for the inputs of a module: positional ones, and those by name.

    Args:
        inputs: the inputs.
        batch: length of the batch's axis.
        device: device of the tensors.
        dtype: dtype of inputs in floating point; None leaves each its own.
    """
    args, kwargs = [], {}
    for one in inputs:
        own = getattr(torch, DTYPES[one.dtype])
        if dtype is not None and own.is_floating_point:
            own = dtype
        tensor = torch.zeros(one.shape(batch), dtype=own, device=device)
        if one.name:
            kwargs[one.name] = tensor
        else:
            args.append(tensor)
    return args, kwargs


def _is_image(one: Input) -> bool:
    floating = one.dtype in {"fp32", "fp16", "bf16", "fp64"}
    return floating and len(one.axes) == 4 and one.axes[0] == BATCH_AXIS


def _has_tokens(one: Input) -> bool:
    return 2 <= len(one.axes) <= 3 and one.axes[0] == BATCH_AXIS
