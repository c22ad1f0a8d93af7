"""Assertions for tests that compare a model with hand-derived counts.

from vitprof.testing import assert_macs, assert_params

def test_my_encoder_layer():
    assert_params("layer", "2*64 + 64*192+192 + 64*64+64 + 2*64 + 64*256+256 + 256*64+64")
    assert_macs("layer", {"mixer.qkv": "100*50*64*192"}, batch=100, tokens=50)

def test_my_module():
    assert_macs(nn.Linear(64, 10), "32*64*10", inputs=(32, 64))
    assert_params(None, {"fc": "512*1000 + 1000"}, module="torchvision:resnet18")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vitprof.cli import COMMANDS
from vitprof.cli.plugins import check_options
from vitprof.errors import SpecError
from vitprof.expectations.expectations import evaluate, expect
from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op
from vitprof.formulas.totals import HEADLINES
from vitprof.report.check import describe
from vitprof.request.specs import subject
from vitprof.request.workload import BATCH

if TYPE_CHECKING:
    from torch import Tensor, nn

Expected = int | str | Mapping[str, int | str]


def assert_params(
    model: str | Model | nn.Module | None,
    expected: Expected,
    inputs: object = None,
    *,
    mixer: str | type[Mixer] | None = None,
    **options: object,
) -> None:
    """Assert a model's parameters.

    Args:
        model: a model's name, a model that `specify` returned, or any module; None for the
            default, or with `module`.
        expected: number of all parameters, or a derivation (`"128*512 + 512"`); or a mapping
            from names of totals and paths of layers to numbers or derivations.
        inputs: what a module is called with; parameters do not depend on it.
        mixer: the mixer's name, reference or class.
        **options: the model's and the mixer's options, or the name of a `preset`; or `module`, a
            reference such as `timm:vit_base_patch16_224`, with `arg` and `input`.

    Raises:
        AssertionError: a count differs; the message shows each, and the layers' formulas.
        SpecError: there is no such model, module, option, total or layer.
    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    spec, _ = subject(model, inputs, mixer=mixer, options=options, called=False)
    _assert(spec.tree(Measure.PARAMS), Measure.PARAMS, expected)


def assert_macs(
    model: str | Model | nn.Module | None,
    expected: Expected,
    inputs: object = None,
    *,
    mixer: str | type[Mixer] | None = None,
    batch: int | None = None,
    training: bool = False,
    checkpoint: bool = False,
    **options: object,
) -> None:
    """Assert a model's multiply-accumulates in a forward pass, or in a training step.

    Args:
        model: a model's name, a model that `specify` returned, or any module; None for the
            default, or with `module`.
        expected: number of all MACs, or a derivation (`"100*50*64*192"`); or a mapping from
            names of totals and paths of layers to numbers or derivations.
        inputs: what a module is called with: a tensor, a shape with the batch in front, a tuple
            of them, or a dict of those by keyword.
        mixer: the mixer's name, reference or class.
        batch: images at a time; None for the batch of the inputs, or 1.
        training: count a training step, forward and backward pass.
        checkpoint: recompute each block in the backward pass of that step.
        **options: the model's and the mixer's options, or the name of a `preset`; or `module`, a
            reference such as `timm:vit_base_patch16_224`, with `arg` and `input`.

    Raises:
        AssertionError: a count differs; the message shows each, and the layers' formulas.
        SpecError: there is no such model, module, option, total or layer; or `checkpoint` is given
            for a forward pass.
    """
    __tracebackhide__ = True
    spec, given = subject(model, inputs, mixer=mixer, options=options)
    images = BATCH.read("batch", (given or 1) if batch is None else batch)
    if training:
        from vitprof.allocation.training import training as training_tree

        tree = training_tree(spec, images, checkpoint=checkpoint)
        _assert(tree, Measure.TRAINING, expected)
        return
    if checkpoint:
        raise SpecError("checkpoint has no effect with a forward pass alone; give training, too")
    _assert(spec.tree(Measure.MACS, images), Measure.MACS, expected)


def assert_mixer(
    mixer: type[Mixer] | Mixer,
    *,
    options: Mapping[str, object] | None = None,
    sizes: Iterable[Mapping[str, int]] | None = None,
    reference: Callable[[Any, Tensor], Tensor] | None = None,
) -> None:
    """Assert that a mixer's formula agrees with its torch module; needs torch and some seconds.

    At several sizes and batches it compares submodules by path and class, parameters and MACs
    by path, shapes, a gradient for each parameter, and the bytes that a step holds after every
    allocation, traced on fake tensors in several dtypes. vitprof's own mixers pass it.

    Args:
        mixer: a mixer with its options; or its class, of which each flag and each choice is
            tried once.
        options: options of the class, if `mixer` is a class.
        sizes: `tokens`, `dim` and `heads` to try; None for sizes that suit most mixers. Sizes
            at which the mixer is not defined are skipped.
        reference: naive implementation in double precision, which maps the module and its input
            (B, N, D) to the output (B, N, D).

    Raises:
        AssertionError: formula and module differ; the message names the op.
        SpecError: the mixer is defined at none of the sizes, or has an option of a name that is
            taken.
    """
    __tracebackhide__ = True
    from vitprof.running.mixer import SIZES, check_mixer, spellings

    check_options(mixer if isinstance(mixer, type) else type(mixer), COMMANDS)
    tried = [mixer] if isinstance(mixer, Mixer) else [*spellings(mixer, options or {})]
    for spelling in tried:
        refusals = []
        places = [*(SIZES if sizes is None else sizes)]
        for place in places:
            try:
                check_mixer(spelling, place, reference)
            except SpecError as error:
                refusals.append(error)
        if len(refusals) == len(places):
            raise refusals[0]


def _assert(tree: Layer, measure: Measure, expected: Expected) -> None:
    __tracebackhide__ = True
    by_key = expected if isinstance(expected, Mapping) else {HEADLINES[measure]: expected}
    outcomes = evaluate(tree, [expect(measure, key, value) for key, value in by_key.items()])
    failures = [outcome for outcome in outcomes if not outcome.holds]
    if failures:
        rows = [describe(outcome) for outcome in failures]
        if any(not outcome.formula for outcome in failures):
            rows += ["the layers' counts:", *_layers(tree, measure)]
        raise AssertionError("\n  ".join(rows))


def _layers(tree: Layer, measure: Measure) -> list[str]:
    sizes = [
        (node.path, node.repeat, measure.of(node.item))
        for node in tree.walk(fold=True)
        if isinstance(node.item, Op)
    ]
    return [
        f"{path}: {size.formula} = {size.numbers} = {size.value:,}"
        + (f" (×{repeat} = {size.value * repeat:,})" if repeat > 1 else "")
        for path, repeat, size in sizes
        if size.value
    ]
