"""Performer, Nystrom attention and cross-covariance attention against their papers' equations.

The references are loops written from the papers, with the modules' weights in double precision.
Sizes are odd and unequal, so that swapped axes fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import sqrt

import pytest
import torch
from references import columns, prepare
from torch import Tensor, nn
from torch.testing import assert_close

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.mixers.nystrom import NystromAttention as NystromSpec
from vitprof.formulas.mixers.performer import Performer as PerformerSpec
from vitprof.modules.mixers.attention import Attention
from vitprof.modules.mixers.nystrom import NystromAttention
from vitprof.modules.mixers.performer import EPSILON, Performer, orthogonal_features
from vitprof.modules.mixers.xca import CrossCovarianceAttention
from vitprof.request.specs import specify
from vitprof.values.size import Size

B, ROWS, COLUMNS, HEADS, HEAD_DIM = 2, 3, 5, 3, 7
N, DIM = ROWS * COLUMNS, HEADS * HEAD_DIM


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Set the seed; run on one thread, since at small sizes more only wait."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def x(seeded: None) -> Tensor:
    return torch.randn(B, N, DIM, dtype=torch.float64)


def projected(qkv: nn.Linear, x: Tensor, head: int) -> list[Tensor]:
    """Return queries, keys and values of one head and one image, (N, d) each."""
    return [columns(qkv, x, part * DIM + head * HEAD_DIM, HEAD_DIM) for part in range(3)]


def like(mixer: Attention, other: nn.Module) -> None:
    """Copy the projections of another mixer into an attention."""
    own = {name: value for name, value in other.state_dict().items() if name in mixer.state_dict()}
    mixer.load_state_dict(own)


# Performer.


@torch.no_grad()
@pytest.mark.parametrize("features", [1, 5, 2 * HEAD_DIM + 3])
def test_performer_weighs_values_by_its_features(x: Tensor, features: int) -> None:
    """Choromanski et al. 2021, eqs. 4 and 5, a query and a key at a time."""
    mixer = Performer(DIM, HEADS, features=features)
    prepare(mixer)
    w = mixer.projection

    def phi(x: Tensor, highest: Tensor) -> list[Tensor]:
        return [(w[:, i] @ x - x.dot(x) / 2 - highest).exp() + EPSILON for i in range(features)]

    y = torch.empty_like(x)
    for b, head in product(range(B), range(HEADS)):
        q, k, v = projected(mixer.qkv, x[b], head)
        q, k = q / HEAD_DIM**0.25, k / HEAD_DIM**0.25
        keys = [torch.stack(phi(k[n], (k @ w).max())) for n in range(N)]
        for n in range(N):
            query = torch.stack(phi(q[n], (w.T @ q[n]).max()))
            weights = torch.stack([query.dot(key) for key in keys])
            y[b, n, head * HEAD_DIM : (head + 1) * HEAD_DIM] = weights @ v / weights.sum()
    assert_close(mixer(x), columns(mixer.fc_out, y, 0, DIM))


@torch.no_grad()
def test_performer_comes_near_attention_with_many_features(
    x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel is the softmax's on average (lemma 1), so the error falls with the features."""
    monkeypatch.setattr("vitprof.modules.mixers.performer.EPSILON", 0)
    attention = Attention(DIM, HEADS)
    prepare(attention, 0.2)
    errors = []
    for features in (7, 700, 50_000):
        mixer = Performer(DIM, HEADS, features=features).double()
        mixer.load_state_dict({**mixer.state_dict(), **attention.state_dict()})
        errors.append((mixer(x) - attention(x)).norm() / attention(x).norm())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def test_performers_features_are_orthogonal_and_as_long_as_gaussian_ones() -> None:
    features = orthogonal_features(HEAD_DIM, 5_000 * HEAD_DIM)
    for block in torch.split(features[:, : 3 * HEAD_DIM], HEAD_DIM, dim=1):
        products = block.T @ block
        assert_close(products, products.diagonal().diag(), atol=1e-4, rtol=0)
    # |w|^2 of d Gaussian numbers is chi-squared: d on average, its variance 2 d.
    squares = features.square().sum(0)
    assert squares.mean().item() == pytest.approx(HEAD_DIM, rel=0.02)
    assert squares.var().item() == pytest.approx(2 * HEAD_DIM, rel=0.05)
    # A direction favours no axis and no sign.
    assert features.mean().abs() < 0.02
    assert_close(features @ features.T / features.shape[1], torch.eye(HEAD_DIM), atol=0.05, rtol=0)
    assert orthogonal_features(HEAD_DIM, 5).shape == (HEAD_DIM, 5)


def test_performers_features_are_no_parameter_and_are_stored(x: Tensor) -> None:
    mixer = Performer(DIM, HEADS, features=5)
    assert dict(mixer.named_buffers()).keys() == {"projection"}
    assert "projection" in mixer.state_dict()
    assert not mixer.projection.requires_grad
    assert PerformerSpec(features=5).formula(SIZES, Size(B)).of_one(Measure.PARAMS) == (
        DIM * 3 * DIM + 3 * DIM + DIM * DIM + DIM
    )


@torch.no_grad()
def test_performer_does_not_overflow() -> None:
    mixer = Performer(DIM, HEADS, features=64)
    x = torch.randn(B, N, DIM)
    for _ in range(6):
        assert mixer(x).isfinite().all()
        x = 10 * x


# Nystrom attention.


def segments(x: Tensor, landmarks: int) -> Tensor:
    """Return means of equal segments of the rows."""
    length = len(x) // landmarks
    return torch.stack([x[i * length : (i + 1) * length].sum(0) / length for i in range(landmarks)])


@torch.no_grad()
@pytest.mark.parametrize("landmarks", [1, 3, 5, N])
@pytest.mark.parametrize("iterations", [1, 4])
def test_nystrom_is_eq_13_with_the_inverse_of_eq_15(
    x: Tensor, landmarks: int, iterations: int
) -> None:
    mixer = NystromAttention(DIM, HEADS, landmarks=landmarks, iterations=iterations)
    prepare(mixer)
    y = torch.empty_like(x)
    identity = torch.eye(landmarks, dtype=torch.float64)
    for b, head in product(range(B), range(HEADS)):
        q, k, v = projected(mixer.qkv, x[b], head)
        q_marks, k_marks = segments(q, landmarks), segments(k, landmarks)
        f = (q @ k_marks.T / sqrt(HEAD_DIM)).softmax(1)
        a = (q_marks @ k_marks.T / sqrt(HEAD_DIM)).softmax(1)
        g = (q_marks @ k.T / sqrt(HEAD_DIM)).softmax(1)
        z = a.T / (torch.linalg.matrix_norm(a, 1) * torch.linalg.matrix_norm(a, torch.inf))
        for _ in range(iterations):
            az = a @ z
            z = 0.25 * z @ (13 * identity - az @ (15 * identity - az @ (7 * identity - az)))
        y[b, :, head * HEAD_DIM : (head + 1) * HEAD_DIM] = f @ z @ g @ v
    assert_close(mixer(x), columns(mixer.fc_out, y, 0, DIM))


@torch.no_grad()
def test_nystrom_is_attention_with_a_landmark_for_each_token(x: Tensor) -> None:
    """All three softmaxes equal A in this case, and A A^+ A = A."""
    mixer, attention = (
        NystromAttention(DIM, HEADS, landmarks=N, iterations=60),
        Attention(DIM, HEADS),
    )
    prepare(mixer, 0.5)
    attention.double()
    like(attention, mixer)
    assert_close(mixer(x), attention(x), atol=1e-6, rtol=1e-6)


def test_six_iterations_come_near_the_pseudo_inverse(x: Tensor) -> None:
    """The error of A Z falls as a third power (eq. 16)."""
    mixer = NystromAttention(DIM, HEADS, landmarks=5, iterations=6)
    prepare(mixer)
    seen: list[tuple[Tensor, Tensor]] = []
    for step in mixer.inverse:
        step.register_forward_hook(lambda _, given, z: seen.append((given[0], z)))
    mixer(x)
    errors = [(torch.eye(5).double() - a @ z).norm().item() for a, z in seen]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == 6


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (
            "layer",
            {"tokens": 50, "landmarks": 32},
            "32 landmarks do not divide 50 tokens; the numbers that do are 1, 2, 5, 10, 25 and 50",
        ),
        (
            "layer",
            {"tokens": 5, "landmarks": 6},
            "6 landmarks do not divide 5 tokens; the numbers that do are 1 and 5",
        ),
        (
            "layer",
            {"tokens": 1},
            "7 landmarks do not divide 1 token; the only number that does is 1",
        ),
        (
            "layer",
            {"tokens": 5040, "landmarks": 11},
            "11 landmarks do not divide 5040 tokens; the nearest numbers that do are 4, 5, 6, 7, "
            "8, 9, 10, 12, 14, 15, 16 and 18",
        ),
        (
            None,
            {"preset": "vit-s-16"},
            "7 landmarks do not divide 197 tokens; the numbers that do are 1 and 197; --pool mean "
            "leaves out the class token",
        ),
        (
            "classifier",
            {"distillation": True},
            "7 landmarks do not divide 51 tokens; the numbers that do are 1, 3, 17 and 51; --pool "
            "mean --no-distillation leaves out class token and distillation token",
        ),
        # 5 divides the 1025 tokens of the decoder, and 257 the tokens of the encoder.
        *(
            (
                "mae",
                {"landmarks": landmarks},
                f"{landmarks} landmarks do not divide {tokens} tokens; the only number that does "
                "is 1; --no-class-token leaves out the class token",
            )
            for landmarks, tokens in ((5, "257 and 1025"), (257, "1025 and 257"))
        ),
        (
            "mae",
            {"class_token": False, "image_size": 24, "mask_ratio": "0.3"},
            "7 landmarks do not divide 6 and 9 tokens; the numbers that do are 1 and 3",
        ),
    ],
)
def test_landmarks_divide_the_tokens(
    model: str | None, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SpecError) as refused:
        specify(model, mixer="nystrom", options=options)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("layer", {"tokens": 49}),
        ("layer", {"tokens": 50, "landmarks": 50}),
        ("classifier", {"pool": "mean"}),
        (None, {"preset": "vit-s-16", "pool": "mean"}),
        ("mae", {"class_token": False, "landmarks": 64}),
        ("mae", {"landmarks": 1}),
    ],
)
def test_landmarks_that_divide_the_tokens(model: str | None, options: dict[str, object]) -> None:
    assert specify(model, mixer="nystrom", options=options).formula().total(Measure.MACS)


@pytest.mark.parametrize("model", ["mae", "classifier", "layer"])
@pytest.mark.parametrize("mixer", ["performer", "xca"])
def test_it_fits_every_model_as_it_is(model: str, mixer: str) -> None:
    assert specify(model, mixer=mixer).formula().total(Measure.MACS)


def test_nystroms_macs_written_out() -> None:
    """Section 3.2: O(n m^2 + m n d + m^3), for each head, here written out."""
    n, m, d, t = 4096, 128, 64, 6
    sizes = MixerSizes(tokens=Size(n), dim=Size(d), heads=Size(1))
    macs = NystromSpec(landmarks=m, iterations=t).formula(sizes, Size(1)).of_one(Measure.MACS)
    scores = n * d * m + m * d * m + m * d * n
    assert macs - 4 * n * d * d == scores + t * 4 * m**3 + n * m * m + m * n * d + n * m * d


# Cross-covariance attention.


def xca(mixer: CrossCovarianceAttention, x: Tensor) -> Tensor:
    """Return the output of El-Nouby et al. 2021, section 3, channel by channel."""
    y = torch.empty_like(x)
    for b, head in product(range(B), range(HEADS)):
        q, k, v = projected(mixer.qkv, x[b], head)
        for c in range(HEAD_DIM):
            alike = torch.stack(
                [
                    sum(q[n, c] * k[n, other] for n in range(N))
                    / (q[:, c].norm() * k[:, other].norm())
                    for other in range(HEAD_DIM)
                ]
            )
            weights = (mixer.temperature[head, 0, 0] * alike).softmax(0)
            y[b, :, head * HEAD_DIM + c] = v @ weights
    return columns(mixer.fc_out, y, 0, DIM)


@torch.no_grad()
def test_xca_mixes_channels_by_their_cross_covariance(x: Tensor) -> None:
    mixer = CrossCovarianceAttention(DIM, HEADS)
    assert (mixer.temperature == 1).all()
    prepare(mixer)
    mixer.temperature.uniform_(1, 4)
    assert_close(mixer(x), xca(mixer, x))


@torch.no_grad()
def test_xca_takes_no_notice_of_the_order_of_tokens_nor_of_the_length_of_queries(x: Tensor) -> None:
    mixer = CrossCovarianceAttention(DIM, HEADS)
    prepare(mixer)
    order = torch.randperm(N)
    assert_close(mixer(x[:, order]), mixer(x)[:, order])
    y = mixer(x)
    mixer.qkv.weight[: 2 * DIM] *= 3
    mixer.qkv.bias[: 2 * DIM] *= 3
    assert_close(mixer(x), y)


SIZES = MixerSizes(
    tokens=Size(N),
    dim=Size(DIM),
    heads=Size(HEADS),
    grid=(Size(ROWS), Size(COLUMNS)),
)
