"""Streams of the process: data go to stdout, messages to stderr.

A reader that closes stdout, as `head` does, has what it wanted: the rest is dropped, and the exit
code is that of the command. A stdout that cannot be written otherwise is an error, said once; a
stderr that cannot be written loses the message, and nothing else.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
import unicodedata
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, TextIO

from vitprof.errors import OutputError
from vitprof.text import sentence, visible

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# What a terminal without Unicode shows instead. The rest is escaped, as `\u4e2d`.
_SPELLED = {
    **{"×": "x", "−": "-", "…": "...", "√": "sqrt ", "≥": ">=", "≤": "<=", "µ": "u", "‖": "||"},
    **{"⌈": "ceil(", "⌉": ")", "⌊": "floor(", "⌋": ")", "←": "<-"},
    **{"β": "beta", "ε": "eps", "η": "eta", "λ": "lambda", "φ": "phi"},
}
_POWER = re.compile("[⁰¹²³⁴-⁹]+")
SPELLING = "vitprof.spelling"  # name of the error handler


class _Stream(FileIO):
    """A standard stream, which no longer fails once it has failed."""

    def __init__(self, number: int, *, closed: bool) -> None:
        super().__init__(number, "w", closefd=False)
        self._obstacle = "it is closed" if closed else ""
        self._dropped = False

    def write(self, data: ReadableBuffer) -> int:
        size = memoryview(data).nbytes
        if self._dropped:
            return size
        try:
            if not self._obstacle:
                return super().write(data)
        except BrokenPipeError:
            self._dropped = True
            return size
        except OSError as error:
            self._obstacle = (error.strerror or str(error)).lower()
        self._dropped = True
        self.fail(self._obstacle)
        return size

    def fail(self, obstacle: str) -> None:
        """Take note that the stream cannot be written."""


class _Stdout(_Stream):
    def fail(self, obstacle: str) -> None:
        raise OutputError(f"cannot write to stdout: {obstacle}")


def open_streams() -> None:
    """Replace stdout and stderr of this process by streams that behave as this module says.

    A stream that a program put in their place, as a notebook does, is left alone.
    """
    closed = [number for number in range(3) if not _is_open(number)]
    for _ in closed:  # else the next file that is opened would be taken for the stream
        os.open(os.devnull, os.O_RDWR)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _opened(sys.stdout, _Stdout(1, closed=1 in closed))
    if sys.stderr is sys.__stderr__:
        sys.stderr = _opened(sys.stderr, _Stream(2, closed=2 in closed))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _opened(before: TextIO | None, stream: _Stream) -> TextIO:
    return TextIOWrapper(
        BufferedWriter(stream),
        encoding=before.encoding if before is not None else "utf-8",
        errors=SPELLING,
        line_buffering=stream.fileno() == 2 or stream.isatty(),
    )


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Spell what an encoding lacks: the handler of its errors."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    powers = _POWER.sub(lambda digits: f"^{unicodedata.normalize('NFKC', digits[0])}", lacking)
    return "".join(map(_spelled, powers)), error.end


codecs.register_error(SPELLING, _spell)


def _spelled(sign: str) -> str:
    if sign.isascii():
        return sign
    name = unicodedata.name(sign, "")
    if name.startswith("BRAILLE PATTERN DOTS"):
        return "."
    if name.startswith("BOX DRAWINGS"):
        across, down = "HORIZONTAL" in name, "VERTICAL" in name
        return "+" if across == down else "-" if across else "|"
    return _SPELLED.get(sign) or sign.encode("ascii", "backslashreplace").decode("ascii")


def emit(text: str, encoding: str | None = None) -> None:
    """Write text to stdout and flush it.

    Args:
        text: the text.
        encoding: encoding of what programs read; None for that of the terminal.

    Raises:
        OutputError: stdout cannot be written.
    """
    binary = getattr(sys.stdout, "buffer", None)
    if encoding is None or binary is None:
        sys.stdout.write(text)
    else:
        sys.stdout.flush()
        binary.write(text.encode(encoding))
    sys.stdout.flush()


def tell(line: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"{visible(line)}\n")
    sys.stderr.flush()


def complain(reason: str) -> None:
    """Write to stderr, in one sentence, what is wrong."""
    tell(f"vitprof: {sentence(reason)}")
