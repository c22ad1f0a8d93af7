"""Options of the models: every tool's reading is explained."""

from __future__ import annotations

import pytest
from reconciled import broken, check_adds_up, macs, read
from variants import VARIANTS, Options, Variant, spec

import vitprof
from vitprof.counters import TOOLS
from vitprof.counters.convention import Setting
from vitprof.counters.reading import Reading
from vitprof.counters.reconcile import reconcile_macs

# Evaluation as it is asked for by default, and training with gradients, on a CPU.
SETTINGS = [Setting(), Setting(device="cpu", train=True, grad=True)]


# tests/formulas compares every variant with its module; the tools read every sixth one.
@pytest.mark.parametrize(("place", "variant"), list(enumerate(VARIANTS))[::6], ids=str)
def test_every_reading_is_explained(place: int, variant: Variant) -> None:
    weighed = vitprof.params(spec(variant))
    check_adds_up(weighed)
    assert weighed.counters == dict.fromkeys(TOOLS, weighed.total)
    for setting in SETTINGS if variant.model == "layer" else SETTINGS[place // 6 % 2 :][:1]:
        check_adds_up(macs(spec(variant), 3, setting))


@pytest.mark.parametrize("setting", SETTINGS, ids=["eval", "train"])
@pytest.mark.parametrize(
    ("turned", "kind"),
    [
        ({"norm": "rms"}, "rms_norm"),
        ({"norm": "affine"}, "affine"),
        ({"norm": "batch"}, "batch_norm"),
        ({"layer_scale": True}, "layer_scale"),
    ],
    ids=str,
)
def test_no_coefficient_can_be_another(turned: Options, kind: str, setting: Setting) -> None:
    model = spec(Variant("layer", tuple(turned.items())))
    tree = model.formula(3)
    for tool, reading in read(model, setting).items():
        convention = TOOLS[tool].convention(setting)
        assert isinstance(reading, Reading)
        assert reconcile_macs(tree, convention, reading).explained, tool
        wrong = [other for of, _, other in broken(tree, convention) if of == kind]
        assert wrong, tool
        for other in wrong:
            assert not reconcile_macs(tree, other, reading).explained, tool


def added(turned: Options, tool: str, setting: Setting) -> int:
    """Return by how much a tool's reading of a layer of three images exceeds the MACs."""
    report = macs(spec(Variant("layer", tuple(turned.items()))), 3, setting, [tool])
    return report.counters[tool] - report.total


def test_what_the_tools_add_for_a_norm() -> None:
    evaluated, trained = SETTINGS
    elements = 3 * 7 * 12
    # fvcore has no rule for a root mean square, a product or a sum.
    assert added({"norm": "layer"}, "fvcore", evaluated) == 2 * 5 * elements
    assert added({"norm": "rms"}, "fvcore", evaluated) == 0
    assert added({"norm": "affine"}, "fvcore", evaluated) == 0
    assert added({"norm": "batch"}, "fvcore", evaluated) == 2 * 2 * elements
    assert added({"norm": "batch"}, "fvcore", trained) == 2 * 5 * elements
    assert added({"norm": "batch"}, "torch", trained) == 0
    # torchinfo multiplies weights and biases with the images; a scale's gain has another name.
    base = added({"norm": "layer"}, "torchinfo", evaluated)
    assert added({"norm": "rms"}, "torchinfo", evaluated) == base - 2 * 3 * 12
    assert added({"norm": "affine"}, "torchinfo", evaluated) == base
    assert added({"layer_scale": True}, "torchinfo", evaluated) == base
