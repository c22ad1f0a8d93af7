"""Text of others in what vitprof says: visible, of one line, and of bounded length.

A name in a file, an option's value, an error of foreign code: each may hold a terminal's control
characters, and each may be as long as a book.
"""

from __future__ import annotations

import re

_VALUE, _SENTENCE, _TAIL = 80, 1000, 300  # characters shown; of a long sentence, at its end
_BLANKS = re.compile(r"[ \t\r\n]+")


def visible(text: str) -> str:
    r"""Return text with an escape, `\x1b`, for each character that prints as nothing visible.

    These are the characters that `repr` escapes: control characters, line breaks, what reverses or
    hides text, blanks that are no space, and half a surrogate pair.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def shown(value: object) -> str:
    """Return a value as short text; Python cannot print an int of thousands of digits."""
    try:
        text = str(value)
    except ValueError:
        return "of thousands of digits"
    return _cut(text) or repr(text)


def quoted(value: object) -> str:
    """Return the `repr` of a value, shortened."""
    if isinstance(value, str):
        return repr(_cut(value))
    try:
        return _cut(repr(value))
    except (ValueError, RecursionError):  # an int of thousands of digits, a list in lists
        return "a value too long to show"


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 3]}..."


def is_pattern(name: object) -> bool:
    """Return True if a name is a pattern for several, such as `deit*`, with *, ? or [."""
    return isinstance(name, str) and not {*"*?["}.isdisjoint(name)


def sentence(text: str) -> str:
    """Return text as one line of at most 1,000 characters; what is too long lacks its middle."""
    line = _BLANKS.sub(" ", text).strip()
    if len(line) <= _SENTENCE:
        return line
    return f"{line[: _SENTENCE - _TAIL - 5]} ... {line[-_TAIL:]}"
