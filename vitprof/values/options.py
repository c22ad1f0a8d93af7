"""Options of models and mixers: declared once, validated in one place.

A model or a mixer is a frozen dataclass whose fields are declared with `whole`, `wholes`,
`ratio`, `choice` or `flag`. The same declaration reads and checks a value from Python,
the command line or a file, and provides the help of the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cache, partial
from math import gcd, isqrt, lcm
from typing import Any, ClassVar, Self

from vitprof.errors import SpecError, listing
from vitprof.text import quoted, shown
from vitprof.values.places import read_places
from vitprof.values.ratios import plain_ratio, read_ratio
from vitprof.values.size import Size

Value = int | Fraction | float | str | bool | tuple[int, ...]
Plain = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two bounds.

    Attributes:
        help: description for the command line.
        symbol: name in formulas.
        minimum: least value.
        maximum: greatest value.
        odd: True if the value has to be odd.
        grows: upper end of a search along this option, if every cost grows with it in spite
            of rounding; 0 if that is not known.
        convex: True if the steps of every cost from one value to the next grow too, as those of
            a polynomial without negative terms and without rounding.
        multiple_of: name of the option that has to divide it.
        unit: unit of the number, `tokens` or `pixels`.
    """

    help: str
    symbol: str = ""
    minimum: int = 1
    maximum: int = 1_000_000
    odd: bool = False
    grows: int = 0
    convex: bool = False
    multiple_of: str = ""
    unit: str = ""
    metavar: ClassVar[str] = "N"

    def read(self, name: str, value: object) -> int:
        """Return `value` as an int, or raise SpecError."""
        given = f"{label_of(name)} {shown(value)}"
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if isinstance(number, bool) or not isinstance(number, int):
            raise SpecError(f"{given} is not a whole number; give {self.bounds()}")
        if not self.minimum <= number <= self.maximum:
            raise SpecError(f"{given} is out of range; give {self.bounds()}")
        if self.odd and number % 2 == 0:
            raise SpecError(f"{given} is even; give {self.bounds()}")
        return number

    def bounds(self) -> str:
        """Describe the allowed numbers."""
        kind = "an odd number" if self.odd else "a whole number"
        return f"{kind} from {self.minimum} to {self.maximum}"


@dataclass(frozen=True, slots=True)
class Wholes:
    """Whole numbers, one for each stage; on the command line and in JSON with commas between.

    Attributes:
        help: description for the command line.
        each: bounds of each number.
        most: greatest number of stages.
    """

    help: str
    each: Whole
    most: int = 16
    metavar: ClassVar[str] = "N,N,..."

    def read(self, name: str, value: object) -> tuple[int, ...]:
        """Return `value` as a tuple of ints, or raise SpecError."""
        if isinstance(value, str):
            parts: Sequence[object] = [part.strip() for part in value.split(",")]
        elif isinstance(value, list | tuple):
            parts = value
        else:
            parts = [value]
        words = [part if isinstance(part, str) else shown(part) for part in parts]
        given = f"{label_of(name)} {shown(','.join(words))}"
        if not 1 <= len(parts) <= self.most:
            raise SpecError(
                f"{given} is of {len(parts)} stages, and there are at least 1 and at most "
                f"{self.most}; give {self.bounds()}"
            )
        numbers = []
        for stage, part in enumerate(parts, 1):
            try:
                numbers.append(self.each.read(name, part))
            except SpecError:
                raise SpecError(
                    f"{given} has {quoted(part)} for stage {stage}; give {self.bounds()}"
                ) from None
        return tuple(numbers)

    def bounds(self) -> str:
        """Describe the allowed numbers."""
        return f"{self.each.bounds()} for each stage, with commas between"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio: an exact fraction, or a decimal as the nearest double; see `values.ratios`."""

    help: str
    minimum: Fraction
    below: Fraction
    metavar: ClassVar[str] = "RATIO"

    def read(self, name: str, value: object) -> Fraction | float:
        """Return `value` as a fraction, or a decimal as a double, or raise SpecError."""
        given = f"{label_of(name)} {shown(value)}"
        try:
            number = read_ratio(value)
        except OverflowError:
            raise SpecError(f"{given} is out of range; give {self.bounds()}") from None
        except (ValueError, ZeroDivisionError):
            raise SpecError(f"{given} is not a number; give {self.bounds()}") from None
        if not self.minimum <= number < self.below:
            raise SpecError(f"{given} is out of range; give {self.bounds()}")
        return number

    def bounds(self) -> str:
        """Describe the allowed numbers."""
        return f"a number from {self.minimum} to below {self.below}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One name out of a closed set."""

    help: str
    names: tuple[str, ...]
    metavar: ClassVar[str] = "NAME"

    def read(self, name: str, value: object) -> str:
        """Return `value` if it is one of the names, or raise SpecError."""
        if value not in self.names:
            raise SpecError(f"{label_of(name)} can be {listing(self.names)}, not {quoted(value)}")
        return str(value)

    def bounds(self) -> str:
        """List the allowed names."""
        return listing(self.names)


@dataclass(frozen=True, slots=True)
class Flag:
    """On or off."""

    help: str
    metavar: ClassVar[str | None] = None

    def read(self, name: str, value: object) -> bool:
        """Return `value` if it is a bool, or raise SpecError."""
        if not isinstance(value, bool):
            raise SpecError(f"{label_of(name)} is on or off (true or false), not {quoted(value)}")
        return value

    def bounds(self) -> str:
        """List the allowed values."""
        return "true or false"


@dataclass(frozen=True, slots=True)
class Placed:
    """Places of blocks, and what is there: `2,5,8=linear; 11=pool`; see `values.places`."""

    help: str
    metavar: ClassVar[str] = "PLACES=NAME"

    def read(self, name: str, value: object) -> str:
        """Return `value` if it is such text, or raise SpecError."""
        if not isinstance(value, str) or (value and read_places(value) is None):
            raise SpecError(f"{label_of(name)} {shown(value)} cannot be read; give {self.bounds()}")
        return value

    def bounds(self) -> str:
        """Describe the allowed text."""
        return "places and a name, such as 2,5,8=linear or stages.2-3=attn, with semicolons between"


Option = Whole | Wholes | Ratio | Choice | Flag | Placed


def whole(
    default: int,
    *,
    help: str,
    symbol: str = "",
    minimum: int = 1,
    maximum: int = 1_000_000,
    odd: bool = False,
    grows: int = 0,
    convex: bool = False,
    multiple_of: str = "",
    unit: str = "",
) -> Any:  # Any, since the field is annotated with the type of its value
    """Declare a whole number with a default; `Whole` explains the arguments."""
    option = Whole(help, symbol, minimum, maximum, odd, grows, convex, multiple_of, unit)
    return declare(default, option)


def wholes(
    default: tuple[int, ...], *, help: str, minimum: int = 1, maximum: int = 1_000_000
) -> Any:
    """Declare whole numbers, one for each stage."""
    return declare(default, Wholes(help, Whole(help, minimum=minimum, maximum=maximum)))


def ratio(default: str, *, help: str, minimum: str, below: str) -> Any:
    """Declare a ratio; default and bounds are in decimal notation."""
    return declare(read_ratio(default), Ratio(help, Fraction(minimum), Fraction(below)))


def choice(default: str, *, help: str, names: tuple[str, ...]) -> Any:
    """Declare one name out of a closed set."""
    return declare(default, Choice(help, names))


def flag(default: bool, *, help: str) -> Any:
    """Declare a switch."""
    return declare(default, Flag(help))


def declare(default: object, declared: Option) -> Any:
    """Declare an option of any kind."""
    return field(default=default, metadata={"option": declared})


def plain(value: Value | Plain) -> Plain:
    """Return an option's value for JSON: a fraction as an equal number, else `"1/3"`.

    Numbers of stages are `"2,2,6,2"`, as on the command line.
    """
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return plain_ratio(value) if isinstance(value, Fraction) else value


def pairs(values: Mapping[str, Value] | Mapping[str, Plain]) -> str:
    """Return names and values in one line: `image size 224, patch size 16`."""
    return ", ".join(f"{label_of(name)} {plain(value)}" for name, value in values.items())


def label_of(name: str) -> str:
    """Return a field's name for a sentence: `image size`."""
    return name.replace("_", " ")


Needs = Mapping[str, tuple[Value, ...]]  # values by option, all of which are needed


def needing(declared: Any, *alternatives: Needs) -> Any:
    """Declare that an option has an effect only with some values of others.

    Args:
        declared: what `whole`, `wholes`, `ratio`, `choice` or `flag` returned.
        *alternatives: values of other options; one alternative suffices. One that names an
            option that the model does not have never holds.
    """
    return field(default=declared.default, metadata={**declared.metadata, "needs": alternatives})


def why_idle(
    name: str, alternatives: Sequence[Needs], values: Mapping[str, Value]
) -> tuple[list[str], list[str]] | None:
    """Return why an option has no effect: the values that prevent one, and those that it needs.

    Args:
        name: the option.
        alternatives: what it needs.
        values: values of all options.

    Returns:
        None if it has an effect; else both as words, such as `mlp none` and `give mlp plain or
        gated`.
    """
    present: dict[str, None] = {}
    needed: dict[str, None] = {}
    for needs in alternatives:
        unmet = {
            other: wanted for other, wanted in needs.items() if values.get(other) not in wanted
        }
        if not unmet:
            return None
        if needs.keys() <= values.keys():
            present |= {said(other, (values[other],)): None for other in unmet}
            needed |= {_way_out(other, wanted): None for other, wanted in unmet.items()}
    return [*present], [*needed]


def said(name: str, values: Sequence[Value]) -> str:
    """Return an option with its value or several: `mlp plain or gated`, `head`, `no head`."""
    if isinstance(values[0], bool):
        return label_of(name) if values[0] else f"no {label_of(name)}"
    return f"{label_of(name)} {listing(str(plain(value)) for value in values)}"


def _way_out(name: str, wanted: Sequence[Value]) -> str:
    return f"give {said(name, wanted)}" if any(wanted) else f"leave out {label_of(name)}"


def no_effect(name: str, value: Value, idle: tuple[list[str], list[str]]) -> str:
    """Return the sentence that an option has no effect; `idle` is what `why_idle` returned."""
    present, needed = idle
    return (
        f"{said(name, (value,))} has no effect with {listing(present, 'and')}; leave it out, or "
        f"{listing(needed)}"
    )


@dataclass(slots=True)
class Constraint:
    """A rule between values; immutable by convention.

    Attributes:
        holds: True if the rule holds; an array of bools if options are arrays.
        sentence: returns the error sentence: the values, the rule and the way out.
    """

    holds: Any
    sentence: Callable[[], str]


@dataclass(frozen=True, kw_only=True)
class Options:
    """A frozen set of options; every field is read and checked on construction.

    Raises:
        SpecError: a value is not what its field allows, or two values do not fit.
    """

    checked: ClassVar[bool] = True  # False for a copy with arrays or symbols

    def __post_init__(self) -> None:
        own = vars(self)
        for name, option, default in self._defaults():
            if own[name] is not default:
                own[name] = option.read(name, own[name])
        self.check()

    def constraints(self) -> Iterator[Constraint]:
        """Yield the rules between fields; a rule may assume that those before it hold."""
        return iter(())

    def effects(self) -> Iterator[Constraint]:
        """Yield the rules that an option that has no effect with these values has its default."""
        values = self.values()
        for name, _, default in self._defaults():
            idle = why_idle(name, self.needs().get(name, ({},)), values)
            yield Constraint(
                idle is None or values[name] == default,
                partial(no_effect, name, values[name], idle or ([], [])),
            )

    def check(self) -> None:
        """Raise SpecError for the first rule that does not hold."""
        for rule in self.constraints():
            if not rule.holds:
                raise SpecError(rule.sentence())

    @classmethod
    @cache
    def declared(cls) -> dict[str, Option]:
        """Map each option's name to its declaration, inherited options last."""
        own = cls.__annotations__
        declared = [field for field in fields(cls) if "option" in field.metadata]
        declared.sort(key=lambda field: field.name not in own)
        return {field.name: field.metadata["option"] for field in declared}

    @classmethod
    @cache
    def needs(cls) -> dict[str, tuple[Needs, ...]]:
        """Map each option that has an effect only with some values of others to those."""
        return {one.name: one.metadata["needs"] for one in fields(cls) if "needs" in one.metadata}

    @classmethod
    def default(cls, name: str) -> Value:
        """Return the default of an option."""
        value: Value = next(default for own, _, default in cls._defaults() if own == name)
        return value

    @classmethod
    @cache
    def _defaults(cls) -> tuple[tuple[str, Option, Any], ...]:
        """Return name, declaration and default of each option; a default needs no reading."""
        defaults = {field.name: field.default for field in fields(cls)}
        return tuple((name, option, defaults[name]) for name, option in cls.declared().items())

    def size(self, name: str) -> Size:
        """Return the option `name` as a size under its symbol; each time the same object."""
        own, key = vars(self), f"_{name}"
        size: Size | None = own.get(key)
        if size is None:
            # Of two threads that come first, the object of one is kept.
            size = own.setdefault(key, Size(own[name], self._symbols()[name]))
        return size

    @classmethod
    @cache
    def _symbols(cls) -> dict[str, str]:
        return {name: one.symbol for name, one in cls.declared().items() if isinstance(one, Whole)}

    def substitute(self, **values: object) -> Self:
        """Return a copy with options or derived properties replaced by arrays or symbols.

        Nothing is checked, and derived properties are computed again from the new values.
        """
        copied = object.__new__(type(self))
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        vars(copied).update({**own, **values, "checked": False})
        return copied

    def values(self) -> dict[str, Value]:
        """Map each option's name to its value, in order."""
        return {name: getattr(self, name) for name in self.declared()}


def divides(
    whole_name: str,
    whole_value: int,
    part_name: str,
    part_value: int,
    *,
    beside: int = 0,
    of: str = "",
) -> Constraint:
    """Return the rule that `part` divides `whole`; its sentence lists the possible parts.

    They divide `beside` too, another value that `part` has to divide; 0 if there is none. `of` is
    what has the value, to follow it: ` of stage 2`.
    """

    def sentence() -> str:
        part = label_of(part_name)
        by = f"{part_value} {part}" if part.endswith("s") else f"{part} {part_value}"
        return (
            f"{label_of(whole_name)} {whole_value}{of} is not divisible by {by}; "
            f"{part} can be {_some(divisors(gcd(whole_value, beside)))}"
        )

    return Constraint(whole_value % part_value == 0, sentence)


def divisors(number: int) -> list[int]:
    """Return all divisors of a positive number, in order."""
    small = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def near_multiples(number: int, *divisors: int) -> str:
    """List the nearest numbers that all divisors divide, the one below and the one above."""
    step = lcm(*divisors)
    return listing([near for near in (number // step * step, (number // step + 1) * step) if near])


def _some(numbers: list[int]) -> str:
    """List numbers for a sentence; of a long list, the first and the last."""
    if len(numbers) <= 12:
        return listing(numbers)
    return f"{', '.join(map(str, numbers[:8]))}, ... {listing(numbers[-2:])}"
