"""Options of the models: every variant against its torch module."""

from __future__ import annotations

import torch
from against_modules import CHECKS
from cases import for_each
from variants import DROPS, VARIANTS, Variant, every_variant, spec

from vitprof.formulas.models import MODELS
from vitprof.request.workload import Workload
from vitprof.running.step import Step


def test_every_option_that_is_no_size_is_turned() -> None:
    assert {model for model, turned in VARIANTS if "norm" in dict(turned)} == {*MODELS}
    for name in ("mlp", "block", "activation", "layer_scale", "patch_interaction", *DROPS):
        assert "layer" in {model for model, turned in VARIANTS if name in dict(turned)}
    for name in ("patch_bias", "pos_embed", "pos_embed_token", "class_token"):
        assert {model for model, turned in VARIANTS if name in dict(turned)} == {
            "mae",
            "classifier",
        }
    for name in ("image_width", "final_norm"):
        assert {model for model, turned in VARIANTS if name in dict(turned)} == {*MODELS} - {
            "layer"
        }
    for name in ("head", "final_norm_tokens", "head_hidden"):
        models = {model for model, turned in VARIANTS if name in dict(turned)}
        assert models == {"classifier", "pyramid"}
    of_pyramids = ("stem_norm", "stem_kernel", "merge", "merge_norm", "merge_kernel", "depths")
    for name in of_pyramids:
        assert {model for model, turned in VARIANTS if name in dict(turned)} == {"pyramid"}
    of_classifiers = ("pool", "distillation", "stem", "class_layer")
    for name in (*of_classifiers, "class_norm_all", "class_fused"):
        assert {model for model, turned in VARIANTS if name in dict(turned)} == {"classifier"}


@every_variant
def test_the_formulas_are_the_modules(variant: Variant) -> None:
    assert len(CHECKS) == 8
    for check in CHECKS:
        check(spec(variant))


@for_each("variant", VARIANTS)
def test_a_step_trains_all_that_is_trained(variant: Variant) -> None:
    torch.manual_seed(0)
    step = Step(spec(variant), Workload(batch=3, device="cpu"), device="cpu")
    before = {name: p.detach().clone() for name, p in step.module.named_parameters()}
    assert all(parameter.grad is None for parameter in step.module.parameters())
    step()
    for name, parameter in step.module.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
    assert {name for name, p in step.module.named_parameters() if not p.requires_grad} == {
        node.path
        for node in spec(variant).formula().walk(fold=False)
        if node.path.endswith("pos_embed") and dict(spec(variant).values())["pos_embed"] == "fixed"
    }
