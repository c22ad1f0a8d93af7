"""Sentences for a forward pass that cannot be captured."""

from __future__ import annotations

from vitprof.captured.capture import NeedsDataError
from vitprof.errors import SpecError


def explain(reference: str, error: Exception) -> SpecError:
    """Return the sentence for an exception that a forward pass raised on fake tensors."""
    name, words = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, NeedsDataError):
        place = str(error) or "its forward"
        return SpecError(
            f"{reference} needs the value of a tensor in {place}, so no formula holds for every "
            "input; give a part of it that does not"
        )
    if name in {"DynamicOutputShapeException", "DataDependentOutputException"}:
        return SpecError(
            f"{reference} has shapes that depend on data ({words.split(' ')[0]}), so no formula "
            "holds for every input; give a part of it that does not"
        )
    if "flex_attention" in words or "dynamo" in words.lower() or "torch.compile" in words:
        return SpecError(
            f"{reference} compiles a part of its forward ({name}), which cannot be captured; give "
            "it with that switched off, such as with another attention implementation"
        )
    return SpecError(
        f"{reference} raises {name} in its forward: {words[:300]}; check its arguments and give "
        "its inputs, such as --input 3x224x224"
    )
