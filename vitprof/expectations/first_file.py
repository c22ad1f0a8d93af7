"""First files of expectations, which say what the formulas have, for review."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from vitprof.captured.reference import LIBRARIES, read_reference
from vitprof.captured.subject import CapturedModel
from vitprof.errors import listing
from vitprof.expectations.expectations import derivation
from vitprof.expectations.subjects import title_of, tree_of
from vitprof.formulas.hybrid import names_in
from vitprof.formulas.layer import OF_FORWARD, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op
from vitprof.formulas.totals import HEADLINES, totals
from vitprof.request.workload import Workload
from vitprof.subject import Configurable


def first_cases(
    spec: Model | CapturedModel,
    batch: int,
    request: Mapping[str, object] | None = None,
    *,
    training: bool = False,
) -> str:
    """Return the text of a file that expects the counts of `spec` by formula, for review.

    Args:
        spec: the model, or the module.
        batch: images at a time.
        request: names and words that `spec` was made from; the file repeats references.
        training: expect the MACs of a training step, too.

    Raises:
        SpecError: the module cannot be captured, or no parameter of it is trained.
    """
    request = request or {}
    measures = (*OF_FORWARD, Measure.TRAINING) if training else OF_FORWARD
    trees = {measure: tree_of(spec, measure, Workload(batch=batch)) for measure in measures}
    uncounted = trees[Measure.MACS].unknown()
    options = _spelled(spec, batch, request)
    sizes = ", ".join(f"{name} = {_toml(value)}" for name, value in options.items())
    lines = [
        "# Counts with their derivations, as vitprof's formulas have them: review each line.",
        "",
        "[[expect]]",
        f"name = {_toml(title_of(spec))}",
        f"spec = {{ {sizes} }}",
        f"reconciled = false # no rule counts {listing(uncounted, 'and')}"
        if uncounted
        else "reconciled = true",
    ]
    for measure, tree in trees.items():
        lines += ["", f"[expect.{measure.value}]"]
        written = {name: f"{name} = {count:_}" for name, count in totals(tree, measure).items()}
        for node in tree.walk(fold=True):
            size = measure.of(node.item) if isinstance(node.item, Op) else None
            if size is not None and size.value:
                numbers = f"{node.repeat} * ({size.numbers})" if node.repeat > 1 else size.numbers
                count = size.value * node.repeat
                text = derivation(numbers, count)
                shown = _toml(text) if text else f"{count:_}"
                written.setdefault(node.path, f"{_toml(node.path)} = {shown}")
        lines += written.values()
    if code := _code(options):
        lines += ["", f"# Checking this file runs code of {_toml(code)}, which needs --trust."]
    return "\n".join(lines) + "\n"


def expecting(models: Mapping[str, Configurable], batch: int, head: Iterable[str] = ()) -> str:
    """Return the text of a file that expects the parameters and MACs of models.

    Args:
        models: models and modules by name.
        batch: images at a time.
        head: lines of a comment at the start.

    Raises:
        SpecError: a model cannot be named in a file.
    """
    lines = [f"# {line}" for line in head]
    codes = []
    for name, model in models.items():
        spec = {**model.words(), "batch": batch}
        codes.append(_code(spec))
        sizes = ", ".join(f"{option} = {_toml(value)}" for option, value in spec.items())
        lines += ["", "[[expect]]", f"name = {_toml(name)}", f"spec = {{ {sizes} }}"]
        for measure in OF_FORWARD:
            headline = HEADLINES[measure]
            count = totals(model.tree(measure, batch), measure)[headline]
            lines += ["", f"[expect.{measure.value}]", f"{headline} = {count:_}"]
    for code in dict.fromkeys(filter(None, codes)):
        lines += ["", f"# Reading this file runs code of {_toml(code)}, which needs --trust."]
    return "\n".join(lines) + "\n"


def _spelled(
    spec: Model | CapturedModel, batch: int, request: Mapping[str, object]
) -> dict[str, object]:
    """Return the table that asks for a model or a module in a file."""
    if isinstance(spec, CapturedModel):
        words = {name: request[name] for name in ("module", "arg", "input") if request.get(name)}
        return {**words, "batch": batch}
    return {**spec.words(), "batch": batch}


def _code(spec: Mapping[str, object]) -> str:
    """Return the place of the code that a spec names; empty if it names none."""
    module = spec.get("module")
    if module is None:
        names = names_in(spec.get("mixer"), spec.get("mixer_at"))
        return " and ".join(dict.fromkeys(name.rpartition(":")[0] for name in names if ":" in name))
    place = read_reference(module).place
    return "" if place in LIBRARIES else place


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # which JSON allows
