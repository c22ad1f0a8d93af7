"""A module of any origin as a subject: its counts by formula, its build, its inputs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from vitprof.captured.sizes import Variable, at_sizes
from vitprof.captured.source import Input, Source, spell_input
from vitprof.errors import SpecError
from vitprof.formulas.layer import Layer, Measure
from vitprof.values.derived import derived
from vitprof.values.options import Constraint, Option, Value, Whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from vitprof.captured.probe import TrainingStep
    from vitprof.captured.template import Template
    from vitprof.formulas.program import Program


T = TypeVar("T")
_STEP_DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
_VARIABLES = {"image_size": ("H", "W", "S"), "tokens": ("N",)}  # of formulas, by option
_DECLARED = {  # help, unit, maximum, end of a search for crossovers
    "image_size": ("height and width of the images", "pixels", 1_000_000, 4_096),
    "tokens": ("tokens of the input", "tokens", 10_000_000, 65_536),
}


@dataclass(frozen=True)
class CapturedModel:
    """A module that is captured when its counts are asked for.

    Attributes:
        source: where the module comes from.
        train: True to capture it in train mode.
        sizes: sizes of the inputs that differ from those that the module comes with, by the
            name of the variable.
        loss: loss of the module's output in training; None for its own loss, cross entropy of
            logits, or the mean of its first tensor.
    """

    source: Source
    train: bool = False
    sizes: tuple[tuple[str, int], ...] = ()
    loss: Callable[[Any], Tensor] | None = None

    @property
    def variant(self) -> str:
        return self.source.reference

    def conditions(self) -> dict[str, Value]:
        """Return the module, its arguments, its inputs and the version of its library."""
        inputs = ", ".join(spell_input(one) for one in self.source.inputs)
        varied = self.values() if self.sizes else {}
        return {**self.source.conditions(), "inputs": inputs, **varied}

    def built_conditions(self) -> dict[str, Value]:
        """Return the conditions without the inputs."""
        return dict(self.source.conditions())

    @property
    def name(self) -> str:
        return self.source.reference

    @property
    def needs_grid(self) -> bool:
        return False

    @property
    def divisor(self) -> int:
        """Number that has to divide the tokens: any will do, see `every_constraint`."""
        return 1

    def smoothness(self, measure: Measure) -> int:
        """Return 0: counts grow with the tokens, and nothing is known of their differences."""
        return 0

    def same_as(self, other: object) -> bool:
        return isinstance(other, CapturedModel) and self.conditions() == other.conditions()

    def options(self) -> dict[str, Option]:
        """Return the sizes that can be varied: `image_size`, `tokens`, or none."""
        grows = self.template.grows
        found: dict[str, Option] = {}
        for option, variables in _VARIABLES.items():
            if any(one.name in variables for one in self.template.variables):
                words, unit, most, end = _DECLARED[option]
                found[option] = Whole(words, maximum=most, grows=end if grows else 0, unit=unit)
        return found

    def declared(self) -> dict[str, Option]:
        return self.options()

    def values(self) -> dict[str, Value]:
        """Return the sizes that can be varied."""
        known = self.sizes_at(1)
        return {
            option: known[name]
            for option, variables in _VARIABLES.items()
            for name in variables[:1] + variables[2:]
            if name in known
        }

    def at(self, values: Mapping[str, Any]) -> CapturedModel:
        """Return the module at other sizes; unknown names are ignored.

        Raises:
            SpecError: its formulas do not hold at a size.
        """
        read = {
            name: option.read(name, values[name])
            for name, option in self.options().items()
            if name in values
        }
        made = self.placed(read)
        for constraint in made.every_constraint():
            if not constraint.holds:
                raise SpecError(constraint.sentence())
        return made

    def placed(self, values: Mapping[str, Any]) -> CapturedModel:
        """Return the module at sizes, which may be arrays, without validation."""
        known = {one.name for one in self.template.variables}
        sizes = {
            name: values[option]
            for option, variables in _VARIABLES.items()
            for name in variables
            if option in values and name in known
        }
        made = replace(self, sizes=tuple({**dict(self.sizes), **sizes}.items()))
        made.__dict__["template"] = self.template  # it depends on none of the sizes
        made.__dict__["_origin"] = self._origin
        return made

    @derived
    def _origin(self) -> CapturedModel:
        """The module at the sizes that it comes with."""
        return self

    def scattered(self, option: str, tokens: int) -> CapturedModel:
        return self.placed({option: tokens})

    def every_constraint(self) -> Iterator[Constraint]:
        """Yield where the formulas hold: in steps from the size that the module comes with."""
        sizes = dict(self.sizes)
        for one in self.template.variables:
            if one.name not in sizes:
                continue
            step, value = abs(one.step), sizes[one.name]
            if step > 1:
                holds = (value - one.value) % step == 0
                yield Constraint(holds, partial(self._off, one, value))
        if sizes:
            yield Constraint(
                self.template.is_positive(self.sizes_at(1)),
                lambda: f"{self.name} has a layer without elements at this size; give a larger one",
            )

    def _off(self, variable: Variable, value: object) -> str:
        step, own = abs(variable.step), variable.value
        return (
            f"the formulas of {self.name} hold at {variable.name} {own:,} and in steps of {step} "
            f"from there, not at {value}; give {own - step} or {own + step}"
        )

    def in_mode(self, *, train: bool) -> CapturedModel:
        """Return the module in train or eval mode."""
        return self if train == self.train else replace(self, train=train)

    @derived
    def template(self) -> Template:
        """Tree of the module with the closed form of each dimension."""
        from vitprof.captured.probe import probe

        return probe(self.source, train=self.train)

    def sizes_at(self, batch: int, template: Template | None = None) -> dict[str, int]:
        """Return the value of each variable of the formulas, those of `template` if not None."""
        variables = (template or self.template).variables
        return {"B": batch, **{one.name: one.value for one in variables}, **dict(self.sizes)}

    def formula(self, batch: int = 1) -> Layer:
        """Return the ops of a forward pass as a tree.

        Raises:
            SpecError: the module cannot be captured, or not at this batch.
        """
        if self.template.batch in (0, batch):
            return self.template.layer(self.sizes_at(batch))
        return self.known(("numbers", batch), lambda: self._numbers(batch))

    def _numbers(self, batch: int) -> Layer:
        """Return the ops at a batch of a module for which no formula holds at every batch."""
        from vitprof.captured.probe import numbers_at

        own = self.template.batch
        try:
            return numbers_at(self.source, train=self.train, batch=batch).layer({"B": batch})
        except SpecError as error:
            raise SpecError(
                f"{self.source.reference} runs at batch {own} but not at {batch}; give {own}"
            ) from error

    def tree(self, measure: Measure, batch: int = 1) -> Layer:
        """Return the tree in which a measure is counted: `parameters`, or `formula`."""
        return self.parameters() if measure is Measure.PARAMS else self.formula(batch)

    @derived
    def classifies(self) -> bool:
        """True if the module returns one row of numbers per image, (B, classes)."""
        from vitprof.captured.probe import returns_rows

        with _no_modes():
            return returns_rows(self._sized, train=self.train)

    @property
    def _sized(self) -> Source:
        """The source at these sizes."""
        if not self.sizes:
            return self.source
        return at_sizes(self.source, self.template.variables, dict(self.sizes))

    def program(self, batch: int = 1) -> Program:
        """Refuse: what runs is known, but not what is held meanwhile.

        Raises:
            SpecError: always.
        """
        raise SpecError(
            f"the memory of {self.source.reference} is traced, and not known by formula"
        )

    def training(self, batch: int, *, checkpoint: bool) -> Layer:
        """Return the ops of a training step as a tree, with the MACs of each part of it.

        Raises:
            SpecError: the step cannot be captured, or not at this batch; no parameter is trained;
                or there is no checkpointing.
        """
        template = self.step_template(checkpoint=checkpoint)
        if template.batch not in (0, batch):
            return self.known(
                ("step in numbers", batch, checkpoint),
                lambda: self._step_in_numbers(batch, checkpoint=checkpoint),
            )
        sizes = {one.name: one.value for one in template.variables}
        varied = {name: value for name, value in self.sizes if name in sizes}
        if len(varied) < len(self.sizes):
            raise SpecError(
                f"the training MACs of {self.name} are known at the size that it comes with alone"
            )
        return template.layer({"B": batch, **sizes, **varied})

    def step_template(self, *, checkpoint: bool) -> Template:
        """Return the tree of a training step with the closed form of each dimension."""
        from vitprof.captured.probe import probe

        return self._origin.known(
            ("step", checkpoint),
            lambda: probe(self.source, train=True, step=self._step(checkpoint=checkpoint)),
        )

    def _step(self, *, checkpoint: bool) -> TrainingStep:
        from vitprof.captured.probe import TrainingStep

        return TrainingStep(
            loss=self.loss, classifies=self._origin.classifies, checkpoint=checkpoint
        )

    def _step_in_numbers(self, batch: int, *, checkpoint: bool) -> Layer:
        from vitprof.captured.probe import numbers_at

        step = self._step(checkpoint=checkpoint)
        return numbers_at(self.source, train=True, batch=batch, step=step).layer({"B": batch})

    @derived
    def _known(self) -> dict[Hashable, Any]:
        return {}

    def known(self, question: Hashable, answer: Callable[[], T]) -> T:
        """Return the answer to a question that takes long, which is asked once."""
        if question not in self._known:
            self._known[question] = answer()
        found: T = self._known[question]
        return found

    def words(self) -> dict[str, object]:
        """Return what names the module, as `request.specs.subject` takes it.

        Raises:
            SpecError: it was given as it is, and has no name.
        """
        return self._sized.words()

    @property
    def dtype(self) -> str:
        """Dtype of its first parameter, if a step can have it: fp32, bf16, fp16; else empty."""
        floating = (one.dtype for one in self.module.parameters() if one.is_floating_point())
        name = str(next(floating, "")).removeprefix("torch.")
        return _STEP_DTYPES.get(name, "")

    def modules(self, saved: Mapping[str, int]) -> Layer:
        """Return the submodules as a tree; those that save different bytes are not folded."""
        from vitprof.captured.parameters import modules

        return modules(self.module, saved)

    def parameters(self) -> Layer:
        """Return the parameters of the module as a tree."""
        from vitprof.captured.parameters import parameters, parameters_at

        if not self.sizes:
            return parameters(self.module)
        points, trees = self._origin._trees
        found = parameters_at(trees, points, self.sizes_at(1))
        return parameters(self.module) if found is None else found

    @derived
    def _trees(self) -> tuple[list[dict[str, int]], list[Layer]]:
        """The parameters at several sizes, if the module is built anew for a size."""
        from vitprof.captured.parameters import parameters
        from vitprof.captured.probe import points_of

        points = points_of(self.template.variables)
        far = points[-1]
        sides = [far.get(name, far.get("S", 0)) for name in ("H", "W")]
        if not all(sides) or self.source.resized(*sides) is None:
            return points, [parameters(self.module)] * len(points)
        trees = []
        for point in points:
            named = tuple((name, value) for name, value in point.items() if name != "B")
            own = replace(self, sizes=named)
            own.__dict__["template"] = self.template
            trees.append(parameters(own.module))
        return points, trees

    @derived
    def module(self) -> nn.Module:
        """The module without data, on the meta device."""
        from vitprof.captured.calling import build_without_data
        from vitprof.captured.copies import copy_of

        with _no_modes():  # it may be asked for within a trace
            made: nn.Module = copy_of(build_without_data(self._sized), device="meta")
        return made

    def build(self, *, device: str, dtype: torch.dtype) -> nn.Module:
        """Build the module on a device; on `meta`, or of fake tensors, it allocates nothing."""
        import torch

        from vitprof.captured.copies import copy_of

        made: nn.Module
        if device == "meta" or _fake_mode_is_on():
            made = copy_of(self.module, device=device, dtype=dtype)
            return made
        with torch.device(device):
            made = self._sized.build()
        if any(one.is_meta for one in made.parameters()):  # a copy of a module that was given
            made = copy_of(made, device=device, dtype=dtype, zeros=True)
        return made.to(device=device, dtype=dtype)

    def inputs(self, batch: int, *, device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return zeros for the positional arguments."""
        in_order = [one for one in self._sized.inputs if not one.name]
        return self._arguments(in_order, batch, device, dtype)[0]

    def keywords(self, batch: int, *, device: str, dtype: torch.dtype) -> Mapping[str, Tensor]:
        """Return zeros for the arguments by keyword."""
        by_name = [one for one in self._sized.inputs if one.name]
        return self._arguments(by_name, batch, device, dtype)[1]

    def _arguments(
        self, inputs: Sequence[Input], batch: int, device: str, dtype: torch.dtype
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        from vitprof.captured.calling import arguments

        args, kwargs = arguments(inputs, batch, device=device, dtype=dtype)
        return tuple(args), kwargs


def _no_modes() -> AbstractContextManager[object]:
    from torch.utils._python_dispatch import _disable_current_modes

    return _disable_current_modes()


def _fake_mode_is_on() -> bool:
    from torch._C import _get_dispatch_mode, _TorchDispatchModeKey

    return _get_dispatch_mode(_TorchDispatchModeKey.FAKE) is not None
