"""Reference, arguments and inputs of a module, as a user writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vitprof.captured.source import BATCH_AXIS, DTYPES, FIXED, Input
from vitprof.errors import SpecError, listing, unknown
from vitprof.text import quoted

Argument = int | float | str | bool | None | tuple["Argument", ...] | list["Argument"]

LIBRARIES = {"timm": "NAME", "torchvision": "NAME", "transformers": "CLASS"}  # what each looks up
FORMS = (
    *(f"{library}:{word}" for library, word in LIBRARIES.items()),
    "package.module:factory",
    "file.py:factory",
)
_MAX_LENGTH = 1_000_000_000
_MAX_DEPTH = 20  # of brackets within brackets
_WORDS: Mapping[str, Argument] = {"true": True, "false": False, "none": None}
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_SHAPE = "a shape is lengths joined by x, such as 3x224x224, with B where the batch is not in front"


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference in two parts, `timm` and `vit_base_patch16_224`.

    Attributes:
        place: a library, a package's module, or a file.
        name: what is looked up there.
    """

    place: str
    name: str

    def __str__(self) -> str:
        return f"{self.place}:{self.name}"


def read_reference(text: object) -> Reference:
    """Return the parts of a reference.

    Raises:
        SpecError: it is no text of two parts.
    """
    if not isinstance(text, str):
        raise SpecError(
            f"module is a reference in quotes, not {quoted(text)}; give {listing(FORMS)}"
        )
    place, colon, name = text.strip().partition(":")
    if place not in LIBRARIES:
        place, colon, name = text.strip().rpartition(":")
    if not (place and colon and name):
        raise SpecError(
            f"module {quoted(text)} does not say where it comes from; give {listing(FORMS)}"
        )
    return Reference(place, name)


def read_arguments(words: Sequence[str]) -> dict[str, Argument]:
    """Return the arguments in words like `width=64`, by key.

    A value is a number, true, false, none, a list like `[1,2]`, a tuple like `7,7` or `(7,)`, or
    else text; text in quotes is text whatever it says.

    Raises:
        SpecError: a word has no key, or a key comes twice.
    """
    arguments: dict[str, Argument] = {}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.strip()
        if not (equals and all(part.isidentifier() for part in key.split("."))):
            raise SpecError(f"argument {quoted(word)} is not KEY=VALUE; give one such as width=64")
        if key in arguments:
            raise SpecError(f"argument {key} is given twice; give it once")
        arguments[key] = _value(word, value.strip())
    return arguments


def _value(word: str, text: str, depth: int = 0) -> Argument:
    if depth > _MAX_DEPTH:
        raise SpecError(f"argument {quoted(word)} has too many brackets; give {_MAX_DEPTH} at most")
    parts = list(_parts(word, text))
    if len(parts) > 1:
        kept = parts[:-1] if parts[-1] == "" else parts
        return tuple(_value(word, part, depth + 1) for part in kept)
    for opening, closing in ("[]", "()"):
        if text.startswith(opening) and text.endswith(closing):
            return _bracketed(word, text[1:-1].strip(), opening, depth)
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and not text.lstrip("+-").isdigit():
        return float(text)
    return _WORDS.get(text.lower(), text)


def _bracketed(word: str, text: str, opening: str, depth: int) -> Argument:
    inner = [] if text == "" else [part for part in _parts(word, text) if part != ""]
    values = [_value(word, part, depth + 1) for part in inner]
    if opening == "[":
        return values
    return tuple(values) if "," in text or not values else values[0]


def _parts(word: str, text: str) -> Iterator[str]:
    """Yield what stands between the commas that no bracket and no quotes enclose."""
    closing, start, quote = [], 0, ""
    for place, letter in enumerate(text):
        if quote or letter in "'\"":
            quote = (quote if letter != quote else "") if quote else letter
        elif letter in "[(":
            closing.append("]" if letter == "[" else ")")
        elif letter in "])":
            if not closing or closing.pop() != letter:
                raise _unbalanced(word)
        elif letter == "," and not closing:
            yield text[start:place].strip()
            start = place + 1
    if closing:
        raise _unbalanced(word)
    yield text[start:].strip()


def _unbalanced(word: str) -> SpecError:
    return SpecError(
        f"argument {quoted(word)} has a bracket without its partner; close it, or put text in "
        "quotes"
    )


def spell_arguments(arguments: Mapping[str, Argument]) -> list[str]:
    """Return arguments as `--arg` takes them."""
    return [f"{key}={_quoted(value)}" for key, value in arguments.items()]


def _quoted(value: Argument) -> str:
    if isinstance(value, str):
        return f'"{value}"' if "'" in value else f"'{value}'"
    if isinstance(value, tuple):
        inner = ", ".join(map(_quoted, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, list):
        return f"[{', '.join(map(_quoted, value))}]"
    return _shown(value)


def show_arguments(arguments: Mapping[str, Argument]) -> str:
    """Return arguments in a line: `img_size=384, window=(7, 7)`."""
    return ", ".join(f"{key}={_shown(value)}" for key, value in arguments.items())


def _shown(value: Argument) -> str:
    if isinstance(value, tuple | list):
        inner = ", ".join(map(_shown, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def read_inputs(words: Sequence[str]) -> tuple[Input, ...]:
    """Return the inputs in words like `3x224x224` or `mask=50:bool`, in order.

    Raises:
        SpecError: a word is no input, a name comes twice, or a positional input after a name.
    """
    inputs: list[Input] = []
    for word in words:
        new = read_input(word)
        if new.name and new.name in {given.name for given in inputs}:
            raise SpecError(f"input {new.name} is given twice; give it once")
        if not new.name and inputs and inputs[-1].name:
            raise SpecError(
                f"input {quoted(word)} has no name and comes after {inputs[-1].name}, which has "
                "one; give those without a name first"
            )
        inputs.append(new)
    return tuple(inputs)


def read_input(word: str) -> Input:
    """Return the input in a word, `[NAME=]SHAPE[:DTYPE]`; the batch is in front unless B stands.

    After another colon, `fixed` says that it has no batch.

    Raises:
        SpecError: name, shape or dtype cannot be read.
    """
    before, equals, rest = word.strip().rpartition("=")
    if equals and not before.isidentifier():
        raise SpecError(f"input {quoted(word)} has no name before =; give one such as mask=50:bool")
    shape, *said = rest.split(":")
    fixed = FIXED in said
    dtypes = [name for name in said if name != FIXED]
    if len(dtypes) > 1:
        raise SpecError(f"input {quoted(word)} says too much after its shape; give one dtype")
    if dtypes and dtypes[0] not in DTYPES:
        raise unknown("dtype", dtypes[0], DTYPES)
    axes = tuple(_axis(word, axis) for axis in shape.split("x")) if shape else ()
    if axes.count(BATCH_AXIS) > 1:
        raise SpecError(f"input {quoted(word)} has two batches; give B once at most")
    if fixed and BATCH_AXIS in axes:
        raise SpecError(f"input {quoted(word)} has a batch and is fixed; leave out one of them")
    if not fixed and BATCH_AXIS not in axes:
        if not axes:
            raise SpecError(f"input {quoted(word)} has no shape; {_SHAPE}")
        axes = (BATCH_AXIS, *axes)
    return Input(name=before, axes=axes, dtype=dtypes[0] if dtypes else "fp32")


def _axis(word: str, axis: str) -> int | str:
    if axis == BATCH_AXIS:
        return axis
    if not (axis.isascii() and axis.isdecimal()) or len(axis) > 10:
        raise SpecError(f"input {quoted(word)} has no length {quoted(axis)}; {_SHAPE}")
    if not 1 <= int(axis) <= _MAX_LENGTH:
        raise SpecError(
            f"input {quoted(word)} has a length {axis} that is out of range; give a whole number "
            f"from 1 to {_MAX_LENGTH}"
        )
    return int(axis)
