"""Gated MLP, Fourier mixing, global filter and AFT, each against its paper's equations."""

from __future__ import annotations

import json
from cmath import exp
from itertools import product
from math import cos, pi, sqrt

import numpy as np
import pytest
import torch
from combinations import differences
from references import prepare
from torch import Tensor, nn
from torch.testing import assert_close

import vitprof
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.mixers.aft import AttentionFree as AttentionFreeSpec
from vitprof.formulas.mixers.gmlp import GatedMlp as GatedMlpSpec
from vitprof.formulas.op import FFT
from vitprof.modules.build import build_mixer
from vitprof.modules.mixers.aft import AttentionFree
from vitprof.modules.mixers.filter import Filter
from vitprof.modules.mixers.fourier import Fourier
from vitprof.modules.mixers.gmlp import GatedMlp
from vitprof.report.counts import Counts
from vitprof.report.document import Facts
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.values.size import Size

B, N, DIM = 2, 7, 5


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, N, DIM, dtype=torch.float64)


def sizes(*, tokens: int = N, dim: int = DIM) -> MixerSizes:
    return MixerSizes(tokens=Size(tokens), dim=Size(dim), heads=Size(1))


# Gated MLP


@torch.no_grad()
def test_gated_mlp_gates_each_token_by_all(x: Tensor) -> None:
    """Liu et al. 2021, section 2: s(Z) = Z1 * (W LN(Z2) + b)."""
    HALF = 9
    mixer = GatedMlp(DIM, tokens=N, hidden=2 * HALF)
    prepare(mixer)
    y = torch.empty_like(x)
    for b in range(B):
        z = [mixer.act(mixer.fc1.weight @ x[b, n] + mixer.fc1.bias) for n in range(N)]
        normed = []
        for n in range(N):
            v = z[n][HALF:]
            deviation = ((v - v.mean()).square().mean() + mixer.norm.eps).sqrt()
            normed.append((v - v.mean()) / deviation * mixer.norm.weight + mixer.norm.bias)
        for n in range(N):
            gate = torch.full((HALF,), mixer.spatial.bias[n].item(), dtype=torch.float64)
            for m in range(N):
                gate = gate + mixer.spatial.weight[n, m] * normed[m]
            y[b, n] = mixer.fc2.weight @ (z[n][:HALF] * gate) + mixer.fc2.bias
    assert_close(mixer(x), y)


@torch.no_grad()
def test_gated_mlp_begins_without_a_gate(x: Tensor) -> None:
    """W is near zero and b is 1, so that the gate is 1 and no tokens are mixed."""
    torch.manual_seed(0)
    mixer = GatedMlp(DIM, tokens=N, hidden=18).double()
    assert (mixer.spatial.bias == 1).all()
    assert 0 < mixer.spatial.weight.abs().max() < 1e-4
    assert_close(mixer(x), mixer.fc2(mixer.act(mixer.fc1(x))[..., :9]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("dim", "ratio", "hidden"), [(5, "6", 30), (5, "2.5", 12), (7, "3.2", 22), (1, "2", 2)]
)
def test_gated_mlp_rounds_its_width_down(dim: int, ratio: str, hidden: int) -> None:
    model = specify("layer", mixer="gmlp", options={"dim": dim, "heads": 1, "gate_ratio": ratio})
    mixer = build_mixer(model.mixer, sizes(dim=dim))
    assert isinstance(mixer, GatedMlp)
    assert (mixer.fc1.out_features, mixer.fc2.in_features) == (hidden, hidden // 2)


@pytest.mark.parametrize(
    ("dim", "ratio", "width", "instead"), [(5, "3", 15, 2), (1, "1.5", 1, 2), (7, "5.3", 37, 4)]
)
def test_gated_mlp_needs_two_halves(dim: int, ratio: str, width: int, instead: int) -> None:
    def make(ratio: str) -> None:
        specify("layer", mixer="gmlp", options={"dim": dim, "heads": 1, "gate_ratio": ratio})

    said = f"dim {dim} a width of {width}, which gmlp cannot halve; an even ratio, such as "
    with pytest.raises(SpecError, match=f"{said}{instead}, "):
        make(ratio)
    make(str(instead))


def test_gated_mlp_of_no_width_is_refused() -> None:
    with pytest.raises(SpecError, match="a width of 0, which gmlp cannot halve"):
        specify("layer", mixer="gmlp", options={"dim": 8, "heads": 1, "gate_ratio": "0.1"})


@pytest.mark.parametrize(
    ("dim", "millions"),
    [
        (128, "5.87"),  # gMLP-Ti, table 1: 5.9 million
        (256, "19.42"),  # gMLP-S, as timm lists its gmlp_s16_224
    ],
)
def test_gated_mlp_has_the_parameters_of_the_published_models(dim: int, millions: str) -> None:
    """Thirty blocks of a norm and the mixer, without a second MLP; 14 × 14 patches of 16 × 16."""
    one = GatedMlpSpec().formula(sizes(tokens=14 * 14, dim=dim), Size(1)).total(Measure.PARAMS)
    patches, norm, head = 16 * 16 * 3 * dim + dim, 2 * dim, dim * 1000 + 1000
    total = patches + 30 * (2 * dim + one) + norm + head
    assert f"{total / 1e6:.2f}" == millions


# Fourier mixing


def test_fourier_is_the_real_part_of_a_sum_over_tokens_and_channels(x: Tensor) -> None:
    """Lee-Thorp et al. 2021, eq. 3, with the transform of eq. 1."""
    y = torch.zeros_like(x)
    for b, n, d in product(range(B), range(N), range(DIM)):
        for m, e in product(range(N), range(DIM)):
            y[b, n, d] += x[b, m, e] * cos(2 * pi * (m * n / N + e * d / DIM))
    assert_close(Fourier()(x), y)


def test_fourier_has_nothing_to_learn_and_no_macs() -> None:
    report = vitprof.macs("layer", mixer="fourier", batch=3, tokens=N, dim=DIM, heads=1)
    assert report.explained
    assert report.total == 2 * 3 * N * DIM * 4 * DIM  # the block's MLP
    assert not list(Fourier().parameters())


# Global filter


@torch.no_grad()
@pytest.mark.parametrize("grid", [(3, 5), (5, 3), (2, 4), (4, 2), (3, 1), (1, 1)])
def test_filter_multiplies_each_frequency(grid: tuple[int, int]) -> None:
    """Rao et al. 2021, eqs. 2, 4 and 5, from the spectrum's first half alone."""
    torch.manual_seed(0)
    R, C = grid
    mixer = Filter(DIM, rows=R, columns=C)
    prepare(mixer)
    x = torch.randn(B, R, C, DIM, dtype=torch.float64)
    y = torch.zeros_like(x)
    weight = mixer.complex_weight
    assert weight.shape == (R, C // 2 + 1, DIM, 2)
    for b, d, u, v in product(range(B), range(DIM), range(R), range(C // 2 + 1)):
        frequency = sum(
            x[b, m, n, d].item() * exp(-2j * pi * (u * m / R + v * n / C)) / sqrt(R * C)
            for m, n in product(range(R), range(C))
        )
        frequency *= complex(*weight[u, v, d].tolist())
        # A column and its mirror image are conjugates; the first, and the middle one, are both.
        twice = 1 if v in (0, C - v) else 2
        for m, n in product(range(R), range(C)):
            wave = frequency * exp(2j * pi * (u * m / R + v * n / C))
            y[b, m, n, d] += twice * wave.real / sqrt(R * C)
    assert_close(mixer(x.flatten(1, 2)), y.flatten(1, 2))


def test_filter_of_ones_lets_everything_pass() -> None:
    mixer = Filter(DIM, rows=3, columns=5).double()
    with torch.no_grad():
        mixer.complex_weight.copy_(torch.tensor([1.0, 0.0]).expand_as(mixer.complex_weight))
    x = torch.randn(B, 15, DIM, dtype=torch.float64)
    assert_close(mixer(x), x)


def test_filter_has_the_weights_of_the_published_code() -> None:
    """GFNet-Ti: 14 × 14 patches, h = 14 and w = 8 frequencies, 256 channels."""
    options = {"image_size": 224, "patch_size": 16, "dim": 256, "depth": 1, "pool": "mean"}
    model = specify("classifier", mixer="filter", options=options)
    (row,) = (r for r in vitprof.params(model).rows if r.path.endswith("complex_weight"))
    assert row.count == 14 * 8 * 256 * 2


def test_filter_is_counted_at_many_widths_at_once() -> None:
    model = specify("layer", mixer="filter", options={"tokens": 9, "heads": 1})
    sweep = model.substitute(dim=np.array([8, 24])).formula(3).total(Measure.PARAMS)
    one_by_one = [
        specify("layer", mixer="filter", options={"tokens": 9, "heads": 1, "dim": dim})
        for dim in (8, 24)
    ]
    assert list(np.asarray(sweep)) == [one.formula(3).total(Measure.PARAMS) for one in one_by_one]


@pytest.mark.parametrize("side", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_memory_of_a_filter_on_grids_of_any_parity(side: int, dtype: str) -> None:
    # Of one column or two the spectrum has no half that is left out.
    model = specify("layer", mixer="filter", options={"tokens": side**2, "dim": 12, "heads": 3})
    for batch in (1, 3):
        workload = Workload(batch=batch, dtype=dtype)
        assert differences((model, workload)) == []


# Transforms


@torch.no_grad()
@pytest.mark.parametrize("mixer", [Fourier(), Filter(DIM, rows=3, columns=3)])
def test_transforms_compute_in_fp32(mixer: nn.Module) -> None:
    x = torch.randn(B, 9, DIM, dtype=torch.bfloat16)
    mixer.to(torch.bfloat16)
    y = mixer(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, mixer.float()(x.float()).to(torch.bfloat16))


@pytest.mark.parametrize(
    ("lengths", "stages"),
    [((1,), 0), ((2,), 1), ((3,), 2), ((4,), 2), ((5,), 3), ((8, 4), 3 + 2), ((7, 5), 6)],
)
def test_usual_figure_of_a_transform(lengths: tuple[int, ...], stages: int) -> None:
    """5 n log2(n), the logarithm rounded up, for each of 3 × 11 transforms."""
    axes = tuple(Size(length) for length in lengths)
    op = FFT("fft", "HalfFFT2", (Size(3), Size(11)), axes, axes)
    points = np.prod(lengths)
    assert op.flops.value == 5 * 3 * 11 * points * stages
    assert op.uncounted[0][0] == "fft"
    assert op.uncounted[0][1].value == 3 * 11 * points
    assert (op.macs.value, op.params.value) == (0, 0)


def test_usual_figure_of_many_transforms_at_once() -> None:
    lengths = [1, 2, 3, 1024, 1025, 10**9]
    many: Size = Size(np.array(lengths))  # type: ignore[arg-type]
    one_by_one = [FFT("", "", (), (Size(n),), ()).flops.value for n in lengths]
    assert one_by_one[2:5] == [5 * 3 * 2, 5 * 1024 * 10, 5 * 1025 * 11]
    assert list(np.asarray(FFT("", "", (), (many,), ()).flops.value)) == one_by_one


def not_counted(report: Counts) -> str:
    """Return the work that a report lists outside of its total."""
    (facts,) = [element for element in report.document() if isinstance(element, Facts)]
    return facts.lines["not counted"]


@pytest.mark.parametrize(
    ("mixer", "elements", "flops"),
    [
        # One transform an image, of 9 × 12 points: 7 stages.
        ("fourier", 3 * 9 * 12, 5 * 3 * (9 * 12) * 7),
        # Two for each channel, of 9 points: 4 stages.
        ("filter", 2 * 3 * 12 * 9, 2 * 5 * 3 * 12 * 9 * 4),
    ],
)
def test_transforms_stand_apart_in_a_report(mixer: str, elements: int, flops: int) -> None:
    report = vitprof.macs("layer", mixer=mixer, batch=3, tokens=9, dim=12, heads=3)
    assert report.explained
    assert report.not_counted["fft"] == elements
    assert report.fft_flops == json.loads(report.to_json())["fft_flops"] == flops
    assert report.totals == {"macs": report.total, "flops": 2 * report.total}
    assert report.total == 2 * 3 * 9 * 12 * 48
    said = not_counted(report)
    assert said.endswith(f"(elements); fft {flops:,} FLOPs by 5 n ⌈log2 n⌉ a transform")
    assert f"fft {elements:,}, " in said


def test_reports_without_transforms_do_not_speak_of_them() -> None:
    report = vitprof.macs("layer")
    assert report.fft_flops == 0
    assert "fft" not in report.to_json()
    assert not_counted(report).endswith("(elements)")


# AFT


@torch.no_grad()
@pytest.mark.parametrize("factorised", [False, True])
def test_aft_is_a_gated_mean_of_values(x: Tensor, factorised: bool) -> None:
    """Zhai et al. 2021, eq. 2, and its factorised biases w_tt' = u_t v_t'."""
    mixer = AttentionFree(DIM, tokens=N, factorised=factorised, bias_dim=3)
    prepare(mixer)
    if factorised:
        u, v_T = mixer.position_rows, mixer.position_columns
        w = torch.stack([torch.stack([u[t] @ v_T[:, s] for s in range(N)]) for t in range(N)])
    else:
        w = mixer.positions
    projected = x @ mixer.qkv.weight.T + mixer.qkv.bias
    q, k, v = (projected[..., start : start + DIM] for start in (0, DIM, 2 * DIM))
    y = torch.empty_like(x)
    for b, t in product(range(B), range(N)):
        weights = torch.stack([(k[b, s] + w[t, s].item()).exp() for s in range(N)])
        mean = (weights * v[b]).sum(0) / weights.sum(0)
        y[b, t] = mean / (1 + (-q[b, t]).exp())
    assert_close(mixer(x), y)


@torch.no_grad()
def test_aft_does_not_overflow(x: Tensor) -> None:
    mixer = AttentionFree(DIM, tokens=N)
    prepare(mixer)
    y = mixer(x)
    mixer.qkv.bias[DIM : 2 * DIM] += 1000  # of every key
    mixer.positions.add_(1000 * torch.arange(N)[:, None])  # of every row
    assert_close(mixer(x), y)


@torch.no_grad()
def test_aft_without_biases_is_a_softmax_of_the_keys_along_the_tokens(x: Tensor) -> None:
    """Zhai et al. 2021, eq. 5, AFT-simple."""
    mixer = AttentionFree(DIM, tokens=N)
    prepare(mixer)
    mixer.positions.zero_()
    q, k, v = mixer.qkv(x).chunk(3, dim=-1)
    assert_close(mixer(x), q.sigmoid() * (k.softmax(1) * v).sum(1, keepdim=True))


def test_aft_makes_factorised_biases_once_for_all_images() -> None:
    """2 N b parameters in place of N², and N b N multiply-accumulates whatever the batch."""
    plain, thin = AttentionFreeSpec(), AttentionFreeSpec(factorised=True, bias_dim=3)
    for batch in (1, 4):
        one, other = (spec.formula(sizes(), Size(batch)) for spec in (plain, thin))
        more = other.total(Measure.MACS) - one.total(Measure.MACS)
        assert more == N * 3 * N
        assert one.total(Measure.PARAMS) - other.total(Measure.PARAMS) == N * N - 2 * N * 3
    assert thin.formula(sizes(), Size(4)).total(Measure.MACS) == (
        4 * N * DIM * 3 * DIM + 2 * N * N * 4 * DIM + N * 3 * N
    )
