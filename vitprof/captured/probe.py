"""Probing of a module: captures at several sizes, and the closed forms that follow from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from vitprof.captured.calling import arguments, build_without_data, quietly
from vitprof.captured.capture import Captured, Loss, capture
from vitprof.captured.copies import copy_of
from vitprof.captured.failures import explain
from vitprof.captured.fit import BATCH, Fitted, fit
from vitprof.captured.sizes import Values, Variable, at_sizes
from vitprof.captured.source import BATCH_AXIS, Input, Source
from vitprof.captured.step import check_trained, checkpoint_blocks, loss_of
from vitprof.captured.template import Template
from vitprof.captured.tree import Outputs, Part, Piece, sketch
from vitprof.errors import SpecError
from vitprof.exclusive import exclusive

if TYPE_CHECKING:
    from torch import nn

_BATCHES = (2, 3, 5)  # never 1, at which axes vanish
_IMAGE_STEPS = (16, 32, 14, 224, 64)
_TOKEN_STEPS = (1, -1, 16, -16)
_CALLS = 6_000  # that may be captured in vain before the sizes are left as they are
_FAST = {"aten::_transformer_encoder_layer_fwd", "aten::_native_multi_head_attention"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """Training step to capture, instead of a forward pass.

    Attributes:
        loss: loss of the module's output; None for that of `vitprof.captured.step.loss_of`.
        classifies: True if the module returns a row of numbers per image.
        checkpoint: recompute blocks in the backward pass.
    """

    loss: Loss | None
    classifies: bool
    checkpoint: bool


def probe(source: Source, *, train: bool, step: TrainingStep | None = None) -> Template:
    """Capture a module at several sizes and find the closed form of each dimension.

    Args:
        source: where the module comes from.
        train: capture it in train mode.
        step: training step to capture; None for a forward pass.

    Raises:
        SpecError: it cannot be captured.
    """
    probing = _Probing(source, train=train, step=step)
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


def numbers_at(
    source: Source, *, train: bool, batch: int, step: TrainingStep | None = None
) -> Template:
    """Return the tree of a module at one batch, whose dimensions are numbers.

    Raises:
        SpecError: it cannot be captured at this batch.
    """
    return _at_one(_Probing(source, train=train, step=step), (batch,))


def _at_one(probing: _Probing, batches: Sequence[int]) -> Template:
    """Return the tree at the first of some batches at which the module runs."""
    errors = []
    for batch in batches:
        only = probing.sketch({BATCH: batch}, ())
        if not isinstance(only, Exception):
            root = only.faster(probing.fast_paths(batch)).folded()
            return Template(root, batch, decided=probing.decided)
        errors.append(only)
    doing = "forward" if probing.step is None else "step of training"
    raise explain(probing.source.reference, errors[0], doing) from errors[0]


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

    def __init__(self, source: Source, *, train: bool, step: TrainingStep | None = None) -> None:
        self.source = source
        self.train = train
        self.step = step
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
        with quietly(), mode:
            args, kwargs = arguments(source.inputs, batch, device="cpu")
            loss = None if self.step is None else partial(self._loss, batch)
            captured = capture(module, args, kwargs, loss=loss)
            if captured.decided:
                self._compare(captured, capture(module, args, kwargs, truth=False, loss=loss))
        return sketch(module, captured)

    def _loss(self, batch: int, output: Any) -> Tensor:
        assert self.step is not None
        if self.step.loss is not None:
            return self.step.loss(output)
        labels = torch.zeros(batch, dtype=torch.int64)
        return loss_of(output, labels, classifies=self.step.classifies)

    def fast_paths(self, batch: int = _BATCHES[0]) -> set[str]:
        """Return the paths of modules that torch may compute by one function."""
        kinds = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer)
        mode, module = self._fake(self.source)
        paths: set[str] = set()
        if self.train or not any(isinstance(part, kinds) for part in module.modules()):
            return paths
        if not torch.backends.mha.get_fastpath_enabled():
            return paths
        with quietly(), mode:
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
            # A loss of one's own may hold labels.
            own = self.step is not None and self.step.loss is not None
            mode = FakeTensorMode(allow_non_fake_inputs=own)
            with exclusive(), mode:
                module = copy_of(built, device="cpu")
            if self.step is None:
                module.requires_grad_(False)
            else:
                check_trained(module, source.reference, "leave out training")
                if self.step.checkpoint:
                    checkpoint_blocks(module)
            self._built[key] = mode, module
        return self._built[key]


def returns_rows(source: Source, *, train: bool) -> bool:
    """Return True if a module returns a row of numbers per image; False if it cannot be run."""
    found = _Probing(source, train=train).sketch({BATCH: _BATCHES[0]}, ())
    return isinstance(found, Part) and len(found.out) == 2 and found.out[0] == _BATCHES[0]


def _key(source: Source) -> str:
    return str(sorted(source.conditions().items(), key=str))


def _is_image(one: Input) -> bool:
    floating = one.dtype in {"fp32", "fp16", "bf16", "fp64"}
    return floating and len(one.axes) == 4 and one.axes[0] == BATCH_AXIS


def _has_tokens(one: Input) -> bool:
    return 2 <= len(one.axes) <= 3 and one.axes[0] == BATCH_AXIS
