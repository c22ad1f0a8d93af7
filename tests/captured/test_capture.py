"""Captures of modules with awkward forwards, against counts by hand and what the tools say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from captures import given, predicted
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch.autograd import Function
from torch.nn import functional as F

import vitprof
from vitprof.captured.capture import Captured, _Kernels, _Watch, _Written
from vitprof.counters import TOOLS
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.report.counts import Counts

B, N, D, E = 2, 7, 5, 4
TOKENS = (B, N, D)


class Does(nn.Module):
    """Module that calls a function with its weights, or its layers, on its inputs."""

    def __init__(self, function: Callable[..., object], *parts: tuple[int, ...] | nn.Module):
        super().__init__()
        self.function = function
        self.parts = []
        for place, part in enumerate(parts):
            own = part if isinstance(part, nn.Module) else nn.Parameter(torch.zeros(part))
            setattr(self, f"part{place}", own)
            self.parts.append(f"part{place}")

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs, *(getattr(self, name) for name in self.parts))


def read(module: nn.Module, inputs: object, **settings: Any) -> Counts:
    """Return the counts beside all tools that can read the module on the CPU."""
    return vitprof.macs(module, inputs, device="cpu", counters=TOOLS, **settings)


@pytest.fixture(autouse=True)
def _as_it_was() -> None:
    torch.manual_seed(0)


class Blurs(nn.Module):
    """Convolution of each channel with a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(6, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.get_buffer("weight"), groups=6)


class Multiplies(Function):
    """Product with its own backward pass, of which a tracer sees nothing."""

    @staticmethod
    def forward(ctx: object, x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight


multiplies: Callable[..., Tensor] = Multiplies.apply
# Each row: a module, its inputs, its MACs, and what torchinfo and fvcore say.
CALLS: dict[str, tuple[nn.Module, object, int, int, int]] = {
    "a functional call": (Does(F.linear, (E, D)), TOKENS, B * N * D * E, 0, B * N * D * E),
    "a product with a weight": (
        Does(torch.matmul, (D, E)),
        TOKENS,
        B * N * D * E,
        0,
        B * N * D * E,
    ),
    "a product that broadcasts its first operand": (
        Does(lambda x, w: w @ x, (E, N)),
        TOKENS,
        B * E * N * D,
        0,
        E * N * D,
    ),
    "addmm": (Does(lambda x, w, b: torch.addmm(b, x, w), (D, E), (E,)), (N, D), N * D * E, 0, 140),
    "einsum": (
        Does(lambda x, w: torch.einsum("bnd,de->bne", x, w), (D, E)),
        TOKENS,
        B * N * D * E,
        0,
        B * N * D * E,
    ),
    # Half of what NumPy prints: a product without a sum first, which is one operation each.
    "einsum of three": (
        Does(lambda x, w: torch.einsum("bnd,bmd,de->bnme", x, x, w), (D, E)),
        TOKENS,
        B * N * N * D * E,
        0,
        (B * N * D * E + 2 * B * N * N * D * E) // 2,
    ),
    "einsum that only permutes": (
        Does(lambda x: torch.einsum("bnd->bdn", x)),
        TOKENS,
        0,
        0,
        B * N * D // 2,
    ),
    "a transposed convolution": (
        nn.Sequential(nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2, padding=1)),
        (B, 6, 5, 7),
        B * 5 * 7 * 6 * (4 // 2) * 9,
        B * 9 * 13 * (6 * 2 * 9 + 4),  # by its output
        B * 5 * 7 * 6 * (4 // 2) * 9,
    ),
    "padding as a word": (
        nn.Sequential(nn.Conv2d(3, 4, 3, padding="same")),
        (B, 3, 5, 7),
        B * 5 * 7 * 4 * 27,
        B * 5 * 7 * (4 * 27 + 4),
        0,
    ),
    "padding as the usual word": (
        nn.Sequential(nn.Conv2d(3, 4, 3, padding="valid", bias=False)),
        (B, 3, 5, 7),
        B * 3 * 5 * 4 * 27,
        B * 3 * 5 * 4 * 27,
        0,
    ),
    "groups, stride and dilation": (
        nn.Sequential(nn.Conv2d(6, 4, 3, groups=2, stride=2, dilation=2)),
        (B, 6, 9, 11),
        B * 3 * 4 * 4 * 27,
        B * 3 * 4 * (4 * 27 + 4),
        B * 3 * 4 * 4 * 27,
    ),
    # Two layers of two directions: gates of 4 states, of 5 inputs and of 8.
    "lstm": (
        nn.LSTM(D, 4, num_layers=2, bidirectional=True, batch_first=True),
        TOKENS,
        B * N * 2 * 16 * ((5 + 4) + (8 + 4)),
        B * N * 2 * 16 * ((5 + 4 + 2) + (8 + 4 + 2)),
        0,
    ),
    "gru without biases": (
        nn.GRU(D, 4, batch_first=True, bias=False),
        TOKENS,
        B * N * 12 * (5 + 4),
        B * N * 12 * (5 + 4),
        0,
    ),
    "a cell": (
        nn.LSTMCell(D, 4),
        (B, D),
        B * 16 * (5 + 4),
        B * 4 * 16 * (5 + 4 + 2),
        B * 16 * (5 + 4),
    ),
    "grouped queries": (
        Does(lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True)),
        ((B, 4, N, 8), (B, 2, N, 8)),
        2 * B * 4 * N * N * 8,
        0,
        0,
    ),
    "values of another width": (
        Does(F.scaled_dot_product_attention),
        ((B, 4, N, 8), (B, 4, 9, 8), (B, 4, 9, 6)),
        B * 4 * N * 9 * (8 + 6),
        0,
        0,
    ),
    "a result that nothing uses": (
        Does(lambda x, one, other: (one(x), other(x))[1], nn.Linear(D, 4), nn.Linear(D, 3)),
        TOKENS,
        B * N * D * (4 + 3),
        B * (D * (4 + 3) + 4 + 3),
        B * N * D * 3,
    ),
    # torchinfo sees no weights there, but multiplies those of the layer by a row each.
    "a weight that is a buffer": (
        nn.Sequential(Blurs(), nn.Conv2d(6, 4, 1)),
        (B, 6, 9, 11),
        B * 7 * 9 * 6 * 9 + B * 7 * 9 * 6 * 4,
        B * 7 * 9 * (6 * 4 + 4),
        B * 7 * 9 * 6 * 9 + B * 7 * 9 * 6 * 4,
    ),
    "within an autograd function": (
        Does(lambda x, w: multiplies(x, w) @ w, (D, D)),
        TOKENS,
        2 * B * N * D * D,
        0,
        B * N * D * D,
    ),
    "only moves data": (Does(lambda x: F.unfold(x, 3)), (B, 3, 9, 9), 0, 0, 0),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call(name: str) -> None:
    module, inputs, macs, torchinfo, fvcore = CALLS[name]
    report = read(module, inputs)
    assert report.total == macs
    assert (report.counters["torchinfo"], report.counters["fvcore"]) == (torchinfo, fvcore)
    assert report.explained, report.differences
    assert report.module is not None
    assert report.module.unknown == {}


PIXELS = (B, 6, 9, 7)
COUNT = B * 6 * 9 * 7
NORMS: list[tuple[nn.Module, int, int]] = [  # what fvcore counts an element in eval and train mode
    (nn.BatchNorm2d(6), 2, 5),
    (nn.BatchNorm2d(6, affine=False), 1, 4),
    (nn.BatchNorm2d(6, track_running_stats=False), 5, 5),
    (nn.InstanceNorm2d(6), 4, 4),
    (nn.InstanceNorm2d(6, affine=True), 5, 5),
    (nn.InstanceNorm2d(6, track_running_stats=True), 4, 4),
    (nn.GroupNorm(3, 6), 5, 5),
    (nn.GroupNorm(3, 6, affine=False), 4, 4),
    (nn.LayerNorm((9, 7)), 5, 5),
    (nn.LayerNorm(7, elementwise_affine=False), 4, 4),
]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("norm", "in_eval", "in_training"), NORMS)
def test_fvcore_counts_norms(norm: nn.Module, in_eval: int, in_training: int, train: bool) -> None:
    report = read(nn.Sequential(norm), PIXELS, train=train)
    assert report.counters["fvcore"] == COUNT * (in_training if train else in_eval)
    assert report.explained


def test_a_product_that_is_written_into_a_tensor() -> None:
    module = Does(lambda x, w: torch.matmul(x, w, out=x.new_empty(*x.shape[:-1], E)), (D, E))
    tree = given(module, TOKENS)
    assert tree.total(Measure.MACS) == predicted(tree, "torch").predicted == B * N * D * E


def test_what_is_returned_untouched() -> None:
    report = read(Does(lambda x, one: (one(x), x)[1], nn.Linear(D, E)), TOKENS)
    assert (report.total, report.counters["fvcore"]) == (B * N * D * E, 0)
    assert report.explained


class Frozen(nn.BatchNorm2d):
    """A norm that stays in eval mode."""

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


def test_a_norm_that_stays_in_eval_mode() -> None:
    report = read(nn.Sequential(Frozen(6)), PIXELS, train=True)
    assert report.counters["fvcore"] == 2 * COUNT
    assert report.explained


class Twice(nn.Module):
    """One layer at two paths, and another whose weight is its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(D, D)
        self.second = self.first
        self.tied = nn.Linear(D, D, bias=False)
        self.tied.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.tied(self.second(self.first(x)))
        return y


def test_shared_modules_and_tied_weights() -> None:
    module = Twice()
    report = read(module, TOKENS)
    assert report.total == 3 * B * N * D * D
    assert report.explained
    paths = {row.path: row.count for row in report.tree if row.count}
    assert paths["first"] == 2 * B * N * D * D  # both calls at the first path
    assert paths["tied"] == B * N * D * D
    assert "second" not in paths
    assert vitprof.params(module).total == D * D + D


@torch.library.custom_op("vitprof_test::blend", mutates_args=())
def blend(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight


@blend.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[1]))


class Blends(nn.Module):
    """Calls an operator that nothing knows, twice in each of two parts."""

    def __init__(self) -> None:
        super().__init__()
        body: Callable[..., Tensor] = lambda x, w: blend(blend(x, w), w)  # noqa: E731
        self.parts = nn.ModuleList(Does(body, (D, D)) for _ in range(2))
        self.head = nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        y: Tensor = self.head(x)
        return y


def test_an_unknown_operator_is_named_with_its_place_and_times() -> None:
    report = vitprof.macs(Blends(), TOKENS, counters=["analytic"])
    assert report.total == B * N * D * 3
    assert report.module is not None
    assert report.module.unknown == {"vitprof_test::blend": {"parts.0-1": 4}}


@pytest.mark.parametrize(
    "function",
    [
        torch.linalg.inv,
        torch.linalg.matrix_exp,
        torch.linalg.svdvals,
    ],
)
def test_what_may_contract_is_named(function: Callable[..., object]) -> None:
    tree = given(Does(function), (B, D, D))
    ((kernel, places),) = tree.unknown().items()
    assert kernel.startswith("aten::")
    assert places == {"": 1}


@pytest.mark.parametrize(
    "function",
    [
        F.hardswish,
        lambda x: F.hardswish(x * 1, inplace=True),
        lambda x: F.mish(x * 1, inplace=True),
        lambda x: x // 2,
        lambda x: torch.linalg.cross(x[..., :3], x[..., :3]),
        lambda x: x * torch.hann_window(D),
        lambda x: (torch._assert_async(x.sum() > -1), x)[1],
        lambda x: torch.quantile(x, 0.5),
        lambda x: F.embedding_bag(torch.zeros(3, 2, dtype=torch.long), x[0]),
    ],
)
def test_what_does_not_contract_is_not_named(function: Callable[..., object]) -> None:
    assert given(Does(function), (B, D, D)).unknown() == {}


class Asks(nn.Module):
    """Takes one of two layers by the truth of its input."""

    def __init__(self, if_true: int, if_false: int) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(D, if_true), nn.Linear(D, if_false)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.one(x) if torch.all(x == 1) else self.other(x)
        return y


def test_a_truth_is_answered_both_ways() -> None:
    report = vitprof.macs(nn.Sequential(Asks(3, 3)), TOKENS, counters=["analytic"])
    assert report.total == B * N * D * 3
    assert report.module is not None
    assert report.module.decided == ("item in 0",)


class Values(nn.Module):
    """Multiplies by a number that it reads from a tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.sum())


class Selects(nn.Module):
    """Has a shape that depends on data."""

    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0]


class Raises(nn.Module):
    """Raises after some work, with state changed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.BatchNorm1d(N)
        self.times = 0

    def forward(self, x: Tensor) -> Tensor:
        self.times += 1
        self.kept = self.layer(x)
        message = "no such thing"
        raise LookupError(message)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (
            Asks(3, 4),
            r"^Asks decides by values of its input \(item in the model\), with 210 MACs if true "
            r"and 280 if false; give a module that does not, such as the part after the decision$",
        ),
        (
            nn.Sequential(Values()),
            r"^Sequential needs the value of a tensor in 0, so no formula holds for every input; ",
        ),
        (Selects(), r"^Selects has shapes that depend on data \(aten.nonzero.default\), so no "),
        (Raises(), r"^Raises raises LookupError in its forward: no such thing; check its "),
    ],
)
def test_what_cannot_be_captured(module: nn.Module, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        vitprof.macs(module, TOKENS, counters=["analytic"])


def state(module: nn.Module) -> dict[str, object]:
    found: dict[str, object] = {}
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if not isinstance(value, Mapping):
                found[f"{path}.{name}"] = value
            elif name.startswith("_") and "hook" in name:
                found[f"{path}.{name}"] = [*value]
    return found


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("module", [Raises(), nn.Sequential(nn.BatchNorm1d(N), nn.Dropout(0.5))])
def test_a_module_is_unchanged(module: nn.Module, train: bool) -> None:
    module.train()
    tensors = {name: (one, one.clone()) for name, one in module.state_dict(keep_vars=True).items()}
    before, draws = state(module), torch.get_rng_state()
    torch.backends.mha.set_fastpath_enabled(True)
    try:
        vitprof.macs(module, TOKENS, counters=["analytic"], train=train)
        raised = False
    except SpecError:
        raised = True
    assert raised is isinstance(module, Raises)
    assert state(module) == before
    after = module.state_dict(keep_vars=True)
    assert [*after] == [*tensors]
    for name, (one, value) in tensors.items():
        assert after[name] is one
        assert torch.equal(one, value)
    assert torch.equal(torch.get_rng_state(), draws)
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.is_grad_enabled()
    assert torch.zeros(2).sum().item() == 0  # no mode is left behind


def test_torch_takes_a_mode_of_the_key_before_dispatch() -> None:
    """`_Written` rests on a private check of torch; if this fails, nothing can be captured."""
    layer, x, captured = nn.Linear(D, E), torch.zeros(N, D), Captured()
    watch = _Watch(layer, captured, truth=True)
    with torch.no_grad(), enable_python_dispatcher(), _Kernels(watch), _Written(watch):
        layer(x)
    (call,) = captured.calls
    assert (call.function, call.operands) == ("aten::linear", ((N, D), (E, D), (E,)))
    assert call.parameters == (False, True, True)
    assert [product.kernel for product in call.products] == ["aten::addmm"]


def test_what_was_written_is_what_its_kernels_contract() -> None:
    attention = nn.MultiheadAttention(12, 3, batch_first=True)
    tree = given(
        Does(lambda x, attend: attend(x, x, x, need_weights=False)[0], attention), (1, N, 12)
    )
    assert tree.total(Measure.MACS) == N * 12 * 36 + N * 12 * 12 + 2 * N * N * 12
    assert predicted(tree, "torch").predicted == tree.total(Measure.MACS)
