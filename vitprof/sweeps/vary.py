"""Options that a search varies: `dim`, `dim=64:1024`, `depth=2:24:+2`, `heads=2,4,8`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from vitprof.errors import SpecError, listing, unknown
from vitprof.request.workload import Workload
from vitprof.sweeps.axis import Axis, Number, read_axis
from vitprof.sweeps.crossover import default_end
from vitprof.text import shown
from vitprof.values.options import Option, Ratio, Whole, label_of

_NEXT_OPTION = re.compile(r",(?=\s*[A-Za-z_])")  # a comma before a number is within a range
_BOUNDS = re.compile(r"\s*(\d{1,30})\s*:\s*(\d{1,30})\s*")

Ranges = Mapping[str, object]


def read_vary(vary: str | Iterable[str] | Mapping[str, object]) -> dict[str, object]:
    """Return the range of each varied option, None for one without a range.

    Args:
        vary: options as words, each with its range after an equals sign if it has one; several
            in a word have commas between. Or ranges by name.

    Raises:
        SpecError: no option is named, or one is named twice.
    """
    if isinstance(vary, Mapping):
        ranges = {str(name): given for name, given in vary.items()}
    else:
        ranges = {}
        for word in [vary] if isinstance(vary, str) else vary:
            for part in filter(str.strip, _NEXT_OPTION.split(str(word))):
                name, equals, given = part.partition("=")
                name = name.strip().replace("-", "_")
                if name in ranges:
                    raise SpecError(f"{label_of(name)} is varied twice; give it once")
                ranges[name] = given if equals else None
    if not ranges:
        raise SpecError(
            "nothing is varied; give --vary with an option, such as dim, or several with their "
            "ranges, such as dim=64:1024,depth=2:24"
        )
    return ranges


def check_vary(ranges: Ranges, declared: Mapping[str, Option], given: Mapping[str, object]) -> None:
    """Check that the varied options are numbers of a model, and have no other value.

    Args:
        ranges: range of each varied option.
        declared: declarations of the model's options.
        given: options that are given a value.

    Raises:
        SpecError: an option is not of the model, is no number, or is given a value too.
    """
    numbers = [one for one, kind in declared.items() if isinstance(kind, Whole | Ratio)]
    if not numbers:
        raise SpecError(
            "the inputs of the module have no size that can be varied, an image's or a number of "
            "tokens; give one that has, or one of vitprof's own models"
        )
    for option in ranges:
        if option in Workload.declared():
            raise SpecError(
                f"{label_of(option)} is of the step, which both models have in common; vary "
                f"{listing(map(label_of, numbers))}"
            )
        if option not in declared:
            raise unknown("option to vary named", option, numbers)
        if option not in numbers:
            raise SpecError(
                f"{label_of(option)} is no number and cannot be varied; give it one value, "
                f"{declared[option].bounds()}, and vary another option"
            )
        if option in given:
            raise SpecError(
                f"{label_of(option)} is varied, so that its value {shown(given[option])} says "
                "nothing; leave it out, or give the values to try after --vary "
                f"{_word(option)}="
            )


@dataclass(frozen=True, slots=True)
class Varied:
    """The options that are varied, with their ranges.

    Attributes:
        ranges: range of each, None for all values that are searched by default.
        declared: declarations of all options of the model.
        values: values of the options that are not varied.
        ties: for an option whose heads follow it, the name of the heads and the channels of a
            head.
        most: largest number of values of an option.
    """

    ranges: Ranges
    declared: Mapping[str, Option]
    values: Mapping[str, object]
    ties: Mapping[str, tuple[str, int]]
    most: int

    def with_head_dims(self) -> Self:
        """Return a copy in which the heads follow each varied width.

        Raises:
            SpecError: no varied option has heads, or these are varied too.
        """
        ties = {}
        for name in self.ranges:
            kind = self.declared[name]
            heads = kind.multiple_of if isinstance(kind, Whole) and not kind.unit else ""
            if heads in self.ranges:
                raise SpecError(
                    f"{label_of(heads)} follows {label_of(name)} where the channels of a head are "
                    f"kept; vary {label_of(name)} alone, or leave out --keep-head-dim"
                )
            if heads:
                ties[name] = (heads, _whole(self.values[name]) // _whole(self.values[heads]))
        if not ties:
            raise SpecError(
                f"{listing(map(label_of, self.ranges), 'and')} has no heads that could follow; "
                "vary dim, or leave out --keep-head-dim"
            )
        return replace(self, ties=ties)

    def axes(self, end: int | None = None) -> tuple[Axis, ...]:
        """Return the values of each option, of which the model's rules may admit only some.

        Args:
            end: largest value of an option without a range; None for the one by default.

        Raises:
            SpecError: a range cannot be read, or has no value or too many.
        """
        return tuple(self._axis(name, given, end) for name, given in self.ranges.items())

    @property
    def open(self) -> bool:
        """True if larger values can be searched, at which a model can only cost more."""
        (name, given), *others = self.ranges.items()
        kind = self.declared[name]
        return not others and given is None and isinstance(kind, Whole) and kind.grows > 0

    def _axis(self, name: str, given: object, end: int | None) -> Axis:
        kind = self.declared[name]
        bounds = _BOUNDS.fullmatch(given) if isinstance(given, str) else None
        if isinstance(kind, Whole) and given is None:
            low, high = max(kind.minimum, 1), min(end or default_end(kind), kind.maximum)
            return self._between(name, kind, low, high)
        if isinstance(kind, Whole) and bounds:
            low, high = (kind.read(name, number.lstrip("0") or "0") for number in bounds.groups())
            return self._between(name, kind, low, high)
        if given is None or bounds:
            raise SpecError(
                f"{label_of(name)} is no whole number, so that its values have to be given: --vary "
                f"{_word(name)}=2:6:+0.5"
            )
        axis = read_axis(name, given, kind, most=self.most)
        step = self._step(name)
        return self._some(name, tuple(n for n in axis.values if step == 1 or n % step == 0))

    def _between(self, name: str, kind: Whole, low: int, high: int) -> Axis:
        if low > high:
            raise SpecError(
                f"the range {low}:{high} of {label_of(name)} is reversed; give {high}:{low}"
            )
        step = self._step(name)
        values = range(-(-low // step) * step, high + 1, step)
        if len(values) > self.most:
            raise SpecError(
                f"{label_of(name)} has {len(values):,} values from {low:,} to {high:,}, and at "
                f"most {self.most:,} are searched; give a smaller range"
            )
        return self._some(name, tuple(n for n in values if n % 2 or not kind.odd))

    def _some(self, name: str, values: tuple[Number, ...]) -> Axis:
        if values:
            return Axis(name, values)
        step = self._step(name)
        of = f", of which only multiples of {step} can be" if step > 1 else ""
        raise SpecError(f"the range of {label_of(name)} has no value{of}; give a larger range")

    def _step(self, name: str) -> int:
        """Return a number that has to divide an option: the channels of a head, or the heads."""
        kind = self.declared[name]
        if name in self.ties:
            return self.ties[name][1]
        part = kind.multiple_of if isinstance(kind, Whole) else ""
        return 1 if part in self.ranges else _whole(self.values.get(part, 1))


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value


def _word(option: str) -> str:
    return option.replace("_", "-")
