"""Write the last section of docs/mixers.md, from the registries: python docs/make_mixers.py"""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

from vitprof.allocation.rules import RULES
from vitprof.counters import EXTRAS, TOOLS
from vitprof.counters.convention import Setting
from vitprof.docstrings import docstring
from vitprof.formulas.run import ACTIVATIONS, ops
from vitprof.formulas.tensor import Tensor
from vitprof.formulas.work import Work

PAGE = Path(__file__).parent / "mixers.md"

_TITLE = "## Ops and kinds of work"
_TEXT = """\
{before}{title}

The `forward` of a mixer calls these on `run`. Each takes the name of the submodule that computes
it, or of the line, then tensors:

| op | what it computes |
|---|---|
{ops}

The activations are {activations}.
{methods}

Every op does one of these kinds of work. Each has a memory rule in
`vitprof/allocation/rules.py`. The tools that are named count it otherwise than by its MACs, or may
do so on some devices; the others count its MACs, which only contractions have:

| kind of work | tools with a rule of their own |
|---|---|
{kinds}

A kind that is not listed needs a class in `formulas/op/`, a word in `formulas/run.py`, and a memory
rule: [CONTRIBUTING.md](../CONTRIBUTING.md) says where.
"""


def page() -> str:
    """Return the page."""
    words = {name: docstring(word).splitlines()[0] for name, word in ops().items()}
    methods = [
        name for name in vars(Tensor) if not name.startswith("_") and name not in _NO_METHODS
    ]
    settings = [
        Setting(device=device, train=train) for device in ("meta", "cpu") for train in (False, True)
    ]
    own: dict[Work, list[str]] = {
        work: [
            tool.name
            for tool in (*TOOLS.values(), *EXTRAS.values())
            if any(work in tool.convention(setting).rules for setting in settings)
        ]
        for work in RULES
    }
    return _TEXT.format(
        before=PAGE.read_text(encoding="utf-8").partition(_TITLE)[0],
        title=_TITLE,
        ops="\n".join(f"| `{name}` | {said} |" for name, said in words.items()),
        activations=", ".join(f"`{name}`" for name in ACTIVATIONS),
        methods=fill(f"{_METHODS}: {', '.join(f'`{name}`' for name in methods)}.", 100),
        kinds="\n".join(f"| {work.value} | {', '.join(tools)} |" for work, tools in own.items()),
    )


_METHODS = "A tensor has these methods, which are torch's"
_NO_METHODS = ("run", "shape", "refusal")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
