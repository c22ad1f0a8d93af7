"""Write the tables of docs/time.md, predicted beside measured times: python docs/make_time.py"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))

from h100 import SETS, TimedStep, summary, timed

from vitprof.cuda.speed import MEASURED

PAGE = Path(__file__).parent / "time.md"
_BEGIN, _END = "<!-- {} -->\n", "<!-- end -->\n"
# Steps that the page shows by name.
_SHOWN = (
    *("vit-b-16 fp32", "vit-b-16 amp", "vit-b-16 fused amp", "vit-b-16 fused amp ckpt"),
    *("vit-b-16 fused amp infer", "deit-ti amp", "vit-l-16 amp", "mae-b-16 fp32", "gmlp-s amp"),
    *("cls lambda fp32", "cls lambda amp", "cls window amp", "cls opt relu amp"),
)


def page() -> str:
    """Return the page with its tables made anew."""
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in (("errors", _errors()), ("steps", _steps()), ("speed", _speed())):
        before, _, rest = text.partition(_BEGIN.format(name))
        after = rest.partition(_END)[2]
        table = "".join(f"{line}\n" for line in lines)
        text = f"{before}{_BEGIN.format(name)}{table}{_END}{after}"
    return text


def _errors() -> Iterator[str]:
    yield "| steps | number | median error | nine in ten within | worst | pairs in order |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, chosen in SETS.items():
        own = summary([step for step in timed() if chosen(step)])
        order = f"{own.in_order} of {own.pairs}" if own.pairs else ""
        errors = (own.median, own.nine_in_ten, own.worst)
        yield f"| {name} | {own.steps} | {' | '.join(f'{one:.1%}' for one in errors)} | {order} |"


def _steps() -> Iterator[str]:
    by_label = {step.label: step for step in timed()}
    yield "| step | measured | predicted | error | bound by |"
    yield "|---|---:|---:|---:|---|"
    for label in _SHOWN:
        step = by_label[label]
        seconds = (step.seconds, step.predicted.seconds)
        times = " | ".join(f"{1e3 * one:.1f} ms" for one in seconds)
        yield f"| {label} | {times} | {step.error:+.0%} | {_bound(step)} |"


def _bound(step: TimedStep) -> str:
    return "the host" if step.predicted.waits_for_host else step.predicted.whole.bound.value


def _speed() -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for name, line in MEASURED.sentences.items():
        yield f"| {name} | {line} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
