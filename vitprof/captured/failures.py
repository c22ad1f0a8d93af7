"""Sentences for a forward pass that cannot be captured."""

from __future__ import annotations

from vitprof.captured.capture import NeedsDataError
from vitprof.errors import SpecError


def explain(reference: str, error: Exception, doing: str = "forward") -> SpecError:
    """Return the sentence for an exception that a forward pass, or a step, raised on fake tensors.

    Args:
        reference: name of the module.
        error: the exception.
        doing: what raised it, in a word.
    """
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
    compiled = ("flex_attention", "dynamo", "torch.compile", "Current active mode")
    if any(word in words or word in words.lower() for word in compiled):
        return SpecError(
            f"{reference} compiles a part of its forward, as flex_attention does, which cannot be "
            "captured; give it with that switched off, such as with another attention"
        )
    if "quantized" in words.lower():
        return SpecError(
            f"{reference} has quantised parts, which hold no tensors that can be captured; give "
            "the module before it is quantised"
        )
    if "convert all Tensors to FakeTensors" in words:
        return SpecError(
            f"{reference} holds tensors out of reach, as a scripted part does; give the module "
            "before torch.jit.script, or register them as parameters or buffers"
        )
    if "does not require grad and does not have a grad_fn" in words:
        return SpecError(
            f"the loss of {reference} depends on no parameter that is trained; give another loss, "
            "or --inference"
        )
    said = words[:300].rstrip(".")
    return SpecError(
        f"{reference} raises {name} in its {doing}: {said}; check its arguments and give "
        "its inputs, such as --input 3x224x224"
    )
