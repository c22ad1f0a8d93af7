"""A given module as a source: its inputs and batch, its copy without data, what stays as it is."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
import torch
from cases import for_each
from torch import Tensor, nn

from vitprof.captured.given import Given
from vitprof.captured.source import Input, Source
from vitprof.errors import SpecError

MASK = torch.ones(4, 7, dtype=torch.bool)


def positional(*axes: int | str, dtype: str = "fp32") -> Input:
    return Input(axes=axes, dtype=dtype)


@pytest.mark.parametrize(
    ("given", "batch", "inputs"),
    [
        (torch.zeros(4, 3), 4, [positional("B", 3)]),
        (torch.zeros(4, 3, dtype=torch.bfloat16), 4, [positional("B", 3, dtype="bf16")]),
        (torch.zeros(4, 3).T, 3, [positional("B", 4)]),
        ((4, 3), 4, [positional("B", 3)]),
        ([4, 3], 4, [positional("B", 3)]),
        (torch.Size((4, 3)), 4, [positional("B", 3)]),
        ((4,), 4, [positional("B")]),
        (((4, 3), (4, 5)), 4, [positional("B", 3), positional("B", 5)]),
        ([(4, 3), [4, 4]], 4, [positional("B", 3), positional("B", 4)]),
        # The batch is that of the first; what begins with another number has none.
        (
            (torch.zeros(4, 3), torch.zeros(5, 4), MASK),
            4,
            [positional("B", 3), positional(5, 4), positional("B", 7, dtype="bool")],
        ),
        ((torch.tensor(1.5), (4, 3)), 4, [positional(), positional("B", 3)]),
        (torch.tensor(1), None, [positional(dtype="int64")]),
        ("3x8x8", None, [positional("B", 3, 8, 8)]),
        (("50xBx64", (6, 3)), 6, [positional(50, "B", 64), positional("B", 3)]),
        (
            {"x": (4, 3), "mask": MASK, "ids": "9:int64"},
            4,
            [
                Input(name="x", axes=("B", 3)),
                Input(name="mask", axes=("B", 7), dtype="bool"),
                Input(name="ids", axes=("B", 9), dtype="int64"),
            ],
        ),
        (
            ((4, 3), {"mask": MASK}),
            4,
            [positional("B", 3), Input(name="mask", axes=("B", 7), dtype="bool")],
        ),
    ],
)
def test_inputs(given: object, batch: int | None, inputs: list[Input]) -> None:
    source = Given(nn.Identity(), given)
    assert list(source.inputs) == inputs
    assert source.batch == batch


FORMS = (
    "give a tensor, a shape such as (32, 3, 224, 224), text such as '50:int64', several of them in "
    "a tuple or a list, or by keyword in a dict"
)


@for_each(
    "given, sentence",
    [
        ((), f"no input is given; {FORMS}"),
        ({}, f"no input is given; {FORMS}"),
        (3, f"an input of type int cannot be read; {FORMS}"),
        (None, f"an input of type NoneType cannot be read; {FORMS}"),
        ((True, 2), "an input of type bool cannot be read"),
        ((3, (4, 5)), "an input of type int cannot be read"),
        (((4, 3), ()), "an input of type tuple cannot be read"),
        ({1: (4, 3)}, f"input 1 is not a keyword of a module; {FORMS}"),
        ({"a b": (4, 3)}, "input 'a b' is not a keyword of a module"),
        ((4, 0), "shape (4, 0) has a length 0 that is out of range; give whole numbers from 1 to"),
        ([4, -1], "shape (4, -1) has a length -1 that is out of range"),
        ("4*3", "input '4*3' has no length '4*3'"),
        (torch.zeros(2, dtype=torch.complex128), "an input of dtype complex128 cannot be profiled"),
    ],
)
def test_inputs_that_cannot_be_read(given: object, sentence: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(sentence)}"):
        Given(nn.Identity(), given)


def test_what_is_no_module() -> None:
    module: Any = nn.Identity
    sentence = (
        "a module is a torch.nn.Module, not of type type; give one, or a reference such as "
        "'timm:vit_base_patch16_224'"
    )
    with pytest.raises(SpecError, match=f"^{re.escape(sentence)}$"):
        Given(module, (4, 3))


class Tied(nn.Module):
    """Two layers with one weight, kept in a list too, and buffers of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5, bias=False)
        self.second.weight = self.first.weight
        self.first.weight.data = self.first.weight.data.T  # strides of its own
        self.frozen = nn.Parameter(torch.ones(2, dtype=torch.bfloat16), requires_grad=False)
        self.norm = nn.BatchNorm1d(5)
        self.register_buffer("scratch", torch.arange(3), persistent=False)
        self.kept = [self.first.weight, torch.ones(4)]
        self.calls: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.second(self.first(x)))
        return y


def test_a_copy_has_no_data() -> None:
    module = Tied().train()
    module.norm.eval()
    source: Source = Given(module, (4, 5))
    copied: Any = source.build()
    assert type(copied) is Tied
    assert copied is not source.build()
    tensors = [*copied.parameters(), *copied.buffers(), *copied.kept]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    twins = {**dict(copied.named_parameters()), **dict(copied.named_buffers())}
    assert [*twins] == [*own]
    for name, tensor in own.items():
        twin = twins[name]
        assert (twin.shape, twin.stride(), twin.dtype) == (
            tensor.shape,
            tensor.stride(),
            tensor.dtype,
        )
        assert (twin.requires_grad, type(twin)) == (tensor.requires_grad, type(tensor))
    assert copied.first.weight is copied.second.weight is copied.kept[0]
    assert copied.first.weight.stride() == (1, 5)
    assert (copied.training, copied.norm.training) == (True, False)
    assert [*copied.state_dict()] == [*module.state_dict()]


def test_the_module_stays_as_it_is() -> None:
    module = Tied()
    module.norm.eval()
    hook = module.register_forward_hook(lambda layer, args, output: layer.calls.append("hook"))
    module(torch.ones(4, 5)).sum().backward()
    before = {name: (tensor, tensor.clone()) for name, tensor in module.state_dict().items()}
    gradients = {name: (own, own.grad) for name, own in module.named_parameters()}
    modes = [part.training for part in module.modules()]
    draws = torch.get_rng_state()
    copied: Any = Given(module, (4, 5)).build()
    copied.eval()
    copied.calls.append("copy")
    copied.first.weight = None
    assert torch.equal(torch.get_rng_state(), draws)
    for name, tensor in module.state_dict().items():
        same, value = before[name]
        assert tensor.data_ptr() == same.data_ptr()
        assert torch.equal(tensor, value)
    for name, parameter in module.named_parameters():
        own, gradient = gradients[name]
        assert parameter is own
        assert parameter.grad is gradient
    assert [part.training for part in module.modules()] == modes
    assert module.calls == ["hook"]
    assert [*module._forward_hooks] == [hook.id]


def test_what_a_given_module_says() -> None:
    source: Source = Given(Tied(), (4, 5))
    assert source.reference == "Tied"
    assert source.conditions() == {"module": "Tied"}
    assert source.resized(64, 64) is None


def test_a_module_that_cannot_be_copied() -> None:
    module = nn.Linear(3, 4)
    module.lock = threading.Lock()  # type: ignore[assignment]
    sentence = (
        r"^the Linear cannot be copied, TypeError: cannot pickle '_thread.lock' object; give a "
        r"function that makes it, file.py:factory$"
    )
    with pytest.raises(SpecError, match=sentence) as refusal:
        Given(module, (4, 3)).build()
    assert isinstance(refusal.value.__cause__, TypeError)
