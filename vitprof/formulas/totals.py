"""The totals of a formula tree, by name."""

from __future__ import annotations

from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.op import Op, Parameter, Pass

HEADLINES = {  # name of the total of all rows
    Measure.PARAMS: "all",
    Measure.MACS: "macs",
    Measure.TRAINING: "training_macs",
}


def totals(tree: Layer, measure: Measure) -> dict[str, int]:
    """Return totals by name: parameters by owner and by trainable or fixed, or MACs and FLOPs.

    Those of a training step are by its parts, too; without recomputation are the MACs of which
    the utilisation of a model (MFU) is made (Chowdhery et al. 2022, PaLM, section 4.1).
    """
    if measure is Measure.TRAINING:
        parts = {part.value: tree.total(part) for part in Pass}
        whole = tree.total(measure)
        kept = whole - parts[Pass.RECOMPUTED.value]
        return {**parts, "without_recomputation": kept, "training_macs": whole, "flops": 2 * whole}
    if measure is Measure.MACS:
        macs = tree.total(measure)
        return {"macs": macs, "flops": 2 * macs}
    owned = dict.fromkeys(("layers", "tokens_and_positions", "all", "trainable", "fixed"), 0)
    for node in tree.walk(fold=True):
        if isinstance(node.item, Op):
            count = node.item.params.value * node.repeat
            raw = isinstance(node.item, Parameter) and not node.item.owned
            fixed = isinstance(node.item, Parameter) and not node.item.trained
            owned["tokens_and_positions" if raw else "layers"] += count
            owned["fixed" if fixed else "trainable"] += count
            owned["all"] += count
    return owned
