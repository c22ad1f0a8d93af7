"""Crossovers: by hand, against an exhaustive search, and against roots of a polynomial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations, cycle, pairwise
from random import Random
from typing import Any

import pytest
import sympy
from spellings import MIXER_SIZES, SPELLINGS, Spelling

from vitprof.allocation.step import peak_bytes
from vitprof.errors import SpecError
from vitprof.formulas.layer import OF_FORWARD, Measure
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.sweeps.arrays import defined
from vitprof.sweeps.costs import COSTS
from vitprof.sweeps.crossover import EXACT, Stretches, cost, find, smoothness
from vitprof.sweeps.points import options_of
from vitprof.sweeps.stretches import Stretch, stretches
from vitprof.values.options import Whole

ONCE = Workload(batch=3)


def layer(mixer: str, **options: object) -> Model:
    """Build a layer of 64 channels and 4 heads, by default with a square number of tokens."""
    return specify("layer", mixer=mixer, options={"tokens": 49, **options})


def ends(found: Sequence[Stretch]) -> list[tuple[int, int]]:
    return [(stretch.first, stretch.last) for stretch in found]


def one_by_one(costs: Mapping[int, int], others: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return the stretches of sizes at which one cost is less, by trying every size."""
    found: list[tuple[int, int]] = []
    for before, size in pairwise([0, *costs]):
        if costs[size] < others[size]:
            joins = bool(found) and found[-1][1] == before
            found[len(found) - joins :] = [(found[-1][0] if joins else size, size)]
    return found


# The search itself


def never_falling(random: Random, steps: int) -> list[int]:
    costs = [random.randint(0, 30)]
    while len(costs) <= steps:
        costs.append(costs[-1] + random.choice((0, 0, 1, 3, random.randint(0, 20))))
    return costs


def most_of_three(random: Random, steps: int) -> list[int]:
    """Draw a maximum of three parabolas: its steps grow, the steps of its steps do not."""
    terms = [[random.randint(0, most) for most in (400, 9, 2)] for _ in range(3)]
    return [max(a + b * t + c * t * t for a, b, c in terms) for t in range(steps + 1)]


def cubic(random: Random, steps: int) -> list[int]:
    a, b, c, d = (random.randint(0, most) for most in (60, 9, 2, 1))
    return [a + b * t + c * t * t + d * t**3 for t in range(steps + 1)]


@pytest.mark.parametrize(
    ("growing", "make"), [(None, never_falling), (0, never_falling), (1, most_of_three), (2, cubic)]
)
def test_no_size_is_missed(growing: int | None, make: Callable[[Random, int], list[int]]) -> None:
    random = Random(f"{growing}")
    for _ in range(400):
        steps = random.randint(0, 40)
        one, other = make(random, steps), make(random, steps)
        one[0] = random.choice((one[0], 0, 500))  # the first size may have any cost
        sizes = range(7, 7 + 3 * len(one), 3)
        costs, others = (dict(zip(sizes, made, strict=True)) for made in (one, other))
        found = stretches(costs.__getitem__, others.__getitem__, sizes, growing=growing)
        assert ends(found) == one_by_one(costs, others)


def test_no_size_at_all() -> None:
    assert stretches(lambda size: 1, lambda size: 2, [], growing=0) == []


@pytest.mark.parametrize(("growing", "most"), [(0, 110), (1, 90), (2, 80)])
def test_few_sizes_are_looked_at(growing: int, most: int) -> None:
    seen: set[int] = set()

    def square(size: int) -> int:
        seen.add(size)
        return size * size

    # n² < 1000 n below 1000, where they are the same.
    found = stretches(square, lambda size: 1000 * size, range(1, 65_537), growing=growing)
    assert ends(found) == [(1, 999)]
    assert len(seen) <= most


@pytest.mark.parametrize("growing", [0, 1, 2])
def test_curves_that_touch_nearly(growing: int) -> None:
    # 2 r n is less than n² + r² - 1 but for n = r - 1 and r + 1, where (n - r)² = 1, and r.
    for r in range(3, 60):
        found = stretches(
            lambda n, r=r: 2 * r * n,  # type: ignore[misc]
            lambda n, r=r: n * n + r * r - 1,  # type: ignore[misc]
            range(1, 101),
            growing=growing,
        )
        assert ends(found) == [(1, r - 2), (r + 2, 100)]


def test_costs_that_are_the_same_are_found_out_at_once() -> None:
    seen: set[int] = set()

    def cost(size: int) -> int:
        seen.add(size)
        return 7 * size * size + size

    assert stretches(cost, cost, range(1, 65_537), growing=2) == []
    assert len(seen) <= 10


def test_costs_that_do_not_grow_as_they_should_are_looked_at_closer() -> None:
    # It falls at 5, so the costs at the ends of the range contradict the assumption.
    falling = [10, 11, 12, 13, 14, 3, 2, 1, 0]
    found = stretches(falling.__getitem__, lambda size: 5, range(9), growing=0)
    assert ends(found) == [(5, 8)]


# By hand


def test_lambda_and_attn_in_macs() -> None:
    # D = 64, h = 4, v = 16, and k = 16, r = 9, u = 1.
    # attn    N 64 (3 64) + 2 N² 64 + N 64 64               = 16,384 N + 128 N²
    # lambda  N 64 (4 16 + 16 + 16)   queries, keys, values =  6,144 N
    #         N 16 16                 the content lambda    =    256 N
    #         N 4 16 16, twice        applied, and the positions' = 2,048 N
    #         N 16 81 16              position lambdas      = 20,736 N
    # The norms and the MLP are the same. 128 N² = (29,184 - 16,384) N at N = 100.
    found = find(layer("lambda"), layer("attn"), ONCE, option="tokens")["macs"]
    assert ends(found.cheaper) == [(101, 65_536)]
    assert ends(found.dearer) == [(1, 99)]
    assert (found.first, found.last, found.squares) == (1, 65_536, False)
    (attn, other) = (cost(layer(n), ONCE, "macs", "tokens", 101) for n in ("attn", "lambda"))
    assert attn - other == 3 * (128 * 101**2 - 12_800 * 101)  # of three images


def test_lambda_is_cheaper_in_the_reports_encoder_from_the_first_token_on() -> None:
    # D = 128, h = 8, v = 16: attn 65,536 N + 256 N², lambda 20,480 N + 256 N + 4,096 N + 20,736 N.
    options = {"dim": 128, "heads": 8, "activation": "gelu"}
    found = find(layer("lambda", **options), layer("attn", **options), ONCE, option="tokens")
    assert 20_480 + 256 + 4_096 + 20_736 == 45_568 < 65_536 + 256
    assert [*found] == ["params", "macs", "memory"]
    assert [ends(where.cheaper) for where in found.values()] == [[(1, 65_536)]] * 3


def test_cheaper_only_up_to() -> None:
    # linear       N (4 64² + 2 64 16 + 64)  = 18,496 N, and across tokens 64 N²: at N = 289
    # both cost the same.
    found = find(layer("token-linear"), layer("linear"), ONCE, option="tokens")["macs"]
    assert ends(found.cheaper) == [(1, 288)]
    assert ends(found.dearer) == [(290, 65_536)]


def test_square_numbers_of_tokens_have_a_grid() -> None:
    # attn has 4 64² + 4 64 = 16,640 parameters; lambda 64 96 + 96 = 6,240, two gains and two
    # biases of 64 + 16 channels are 160, and an embedding of 16 for each relative position:
    # 2N - 1 of them, which is less than (16,640 - 6,400) / 16 = 640 up to N = 320, but on a
    # grid of s x s tokens (2s - 1)², which is less only up to s = 13.
    one, other = layer("lambda", positions="global"), layer("attn")
    found = find(one, other, ONCE, option="tokens", measures=("params",))
    assert ends(found["params"].cheaper) == [
        *[(1, 195), (197, 224), (226, 255), (257, 288), (290, 320)]
    ]
    assert ends(found["params"].dearer) == [
        *[(196, 196), (225, 225), (256, 256), (289, 289), (321, 65_536)]
    ]


def test_a_mixer_on_a_grid_is_looked_for_on_grids() -> None:
    # Depthwise, 81 N 64 = 5,184 N, and linear in the channels 18,496 N, as above.
    found = find(layer("conv"), layer("linear"), ONCE, option="tokens", first=2, last=100)["macs"]
    assert (found.first, found.last, found.squares) == (4, 100, True)
    assert ends(found.cheaper) == [(4, 100)]
    # Windows of 7 x 7: sides that are multiples of 7.
    found = find(layer("window"), layer("attn"), ONCE, option="tokens", last=1000)["macs"]
    # Attention costs 2 64 N², in windows 2 64 N 49: the same where there is one window.
    assert (found.first, found.last) == (49, 784)
    assert (ends(found.cheaper), ends(found.dearer)) == ([(196, 784)], [])


def test_a_mixer_whose_landmarks_divide_the_tokens() -> None:
    # D = 64, h = 4, m = 7 landmarks, 6 iterations: attn 128 N², nystrom 256 m N + 64 m² + 4 m² N
    # + 96 m³ = 1,988 N + 36,064, which is less from N = 26.3 on: at 28, the next multiple of 7.
    found = find(layer("nystrom"), layer("attn"), ONCE, option="tokens", last=300)["macs"]
    assert 128 * 26**2 < 1_988 * 26 + 36_064
    assert 128 * 27**2 > 1_988 * 27 + 36_064
    assert (found.first, found.last, found.squares, found.step) == (7, 294, False, 7)
    assert (ends(found.cheaper), ends(found.dearer)) == ([(28, 294)], [(7, 21)])
    # Of two such mixers, the multiples of both; on grids, the squares among them.
    other = layer("nystrom", tokens=50, landmarks=10)
    assert find(layer("nystrom"), other, ONCE, option="tokens", last=300)["macs"].step == 70
    found = find(layer("nystrom"), layer("pool"), ONCE, option="tokens", last=300)["macs"]
    assert (found.first, found.last, found.squares, found.step) == (49, 196, True, 7)


def test_the_same_model_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # Decided without evaluating every size, which would take long.
    monkeypatch.delattr("vitprof.sweeps.crossover.stretches")
    found = find(layer("attn"), layer("attn"), ONCE, option="tokens")
    assert {(where.cheaper, where.dearer) for where in found.values()} == {((), ())}


def test_an_option_that_one_of_them_has() -> None:
    # The lambda layer's MACs by its key depth k, at D = 64 and h = 4, for each token: 64 (5k + 16)
    # + 16 k + 2 64 k + 16 81 k = 1,760 k + 1,024; attention at 100 tokens 16,384 + 12,800.
    one, other = layer("lambda", tokens=100), layer("attn", tokens=100)
    found = find(one, other, ONCE, option="key_depth", last=40)["macs"]
    assert 1_760 * 16 + 1_024 == 16_384 + 12_800
    assert (ends(found.cheaper), ends(found.dearer)) == ([(1, 15)], [(17, 40)])


def test_images_at_a_time() -> None:
    # Memory of weights does not grow with the batch; kept activations do.
    one, other = layer("lambda"), layer("attn", fused=True)
    found = find(one, other, ONCE, option="batch", last=60)["memory"]
    bytes_of = [
        {b: peak_bytes(model, Workload(batch=b)) for b in range(1, 61)} for model in (one, other)
    ]
    assert ends(found.cheaper) == one_by_one(*bytes_of)
    assert found.dearer


def test_an_option_of_none() -> None:
    with pytest.raises(SpecError, match="no option to search along named 'window'; known are"):
        find(layer("attn"), layer("lambda"), ONCE, option="window")
    with pytest.raises(SpecError, match=r"mlp ratio is not a whole number; .* along tokens, dim"):
        find(layer("attn"), layer("lambda"), ONCE, option="mlp_ratio")
    with pytest.raises(SpecError, match=r"from tokens 1 to 6 .* nystrom are defined: at 6, "):
        find(layer("attn"), layer("nystrom"), ONCE, option="tokens", last=6)
    with pytest.raises(SpecError, match="no size from tokens 20 to 10"):
        find(layer("attn"), layer("pool"), ONCE, option="tokens", first=20, last=10)


# Against every size, one by one


def check(
    one: Model,
    other: Model,
    option: str,
    last: int,
    *measures: str,
    workload: Workload = ONCE,
) -> dict[str, Stretches]:
    """Find the crossovers, and compare them with an exhaustive search."""
    found = find(one, other, workload, option=option, last=last, measures=measures)
    for measure, where in found.items():
        costs: dict[int, int] = {}
        others: dict[int, int] = {}
        for size in range(1, last + 1):
            with suppress(SpecError):
                both = [cost(model, workload, measure, option, size) for model in (one, other)]
                costs[size], others[size] = both
        assert (where.first, where.last) == (min(costs), max(costs))
        assert ends(where.cheaper) == one_by_one(costs, others)
        assert ends(where.dearer) == one_by_one(others, costs)
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[("lambda", "attn"), ("aft", "linformer"), ("nystrom", "gmlp")],
        *[("window", "attn"), ("filter", "token-linear")],
    ],
)
def test_every_number_of_tokens(one: str, other: str) -> None:
    found = check(layer(one), layer(other), "tokens", 1000, "params", "macs")
    assert any(where.cheaper for where in found.values())


def test_multiples_that_have_a_grid_and_others() -> None:
    # Global positions: 2 N - 1 of them, but (2 s - 1)² on a grid of s x s tokens.
    one, other = layer("nystrom", landmarks=3, tokens=9), layer("lambda", positions="global")
    assert check(one, other, "tokens", 600, "params")["params"].step == 3


@pytest.mark.parametrize(("one", "other"), [*combinations(("attn", "performer", "aft"), 2)])
def test_memory_at_every_number_of_tokens(one: str, other: str) -> None:
    options = {"dim": 32, "heads": 8}
    check(layer(one, **options), layer(other, **options), "tokens", 80, "memory")


def test_memory_that_has_a_bend() -> None:
    # The peak is in the backward pass of another layer from some number of tokens on.
    workload = Workload(batch=7, optimizer="sgd")
    one, other = (layer(mixer, dim=192, heads=8) for mixer in ("attn", "hydra"))
    found = check(one, other, "tokens", 100, "memory", workload=workload)["memory"]
    assert ends(found.cheaper) == [(11, 48)]


def test_memory_that_is_rounded() -> None:
    one, other = (layer(mixer, dim=128, heads=8) for mixer in ("attn", "linear"))
    fused = layer("attn", fused=True, dim=128, heads=8)
    check(fused, one, "tokens", 80, "memory")
    check(fused, other, "tokens", 80, "memory")


@pytest.mark.parametrize(
    ("option", "last"),
    [("image_size", 60), ("dim", 128), ("depth", 9), ("heads", 64), ("patch_size", 28)],
)
def test_every_size_of_a_model(option: str, last: int) -> None:
    one, other = (specify("classifier", mixer=mixer) for mixer in ("performer", "attn"))
    check(one, other, option, last, "params", "macs", "memory")


def test_a_large_range_is_as_fast_as_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (specify("classifier", mixer=mixer) for mixer in ("aft", "linformer"))
    tried: list[object] = []
    at = Model.at

    def counted(model: Model, values: Mapping[str, object]) -> Model:
        tried.append(values)
        return at(model, values)

    monkeypatch.setattr(Model, "at", counted)
    for option, last in (("classes", 1_000_000), ("batch", 1_000_000_000)):
        tried.clear()
        found = find(one, other, ONCE, option=option, last=last)
        assert {where.last for where in found.values()} == {last}
        assert len(tried) < 150, option
    # Both have the same table of positions, beside which they differ by little.
    tried.clear()
    one, other = (specify("mae", mixer=mixer) for mixer in ("xca", "lambda"))
    found = find(one, other, ONCE, option="image_size", last=200_000, measures=("params", "macs"))
    assert {where.last for where in found.values()} == {200_000}
    assert len(tried) < 150


@pytest.mark.parametrize(
    ("mixer", "options", "option"),
    [
        ("attn", {"heads": 6, "dim": 48}, "kv_heads"),
        ("attn", {"dim": 48}, "heads"),
        ("attn", {"heads": 6, "dim": 48, "pos_embed": "fixed"}, "dim"),
        ("attn", {"image_size": 24, "patch_size": 4}, "image_width"),
        ("filter", {"image_size": 24, "image_width": 36, "pool": "mean"}, "patch_size"),
        ("window", {"image_size": 24, "pool": "mean", "patch_size": 2}, "window"),
        ("conv", {"image_size": 24, "pool": "mean"}, "kernel_size"),
        ("nystrom", {"image_size": 24, "pool": "mean"}, "landmarks"),
        ("token-mlp", {}, "token_hidden"),
        ("linear", {}, "kv_heads"),
    ],
)
def test_sizes_at_which_a_model_is_defined(
    mixer: str, options: dict[str, object], option: str
) -> None:
    given = {"image_size": 24, "patch_size": 4, "landmarks": 1, "window": 1, **options}
    kinds = {*MODELS["classifier"].declared(), *MIXERS[mixer].declared()}
    model = specify(
        "classifier", mixer=mixer, options={name: given[name] for name in given if name in kinds}
    )

    def holds(size: int) -> bool:
        with suppress(SpecError):
            model.at({option: size})
            return True
        return False

    sizes = range(60)
    assert [*defined(model, option, sizes)] == [size for size in sizes if holds(size)]


# Against algebra


@pytest.mark.parametrize(
    ("one", "other"),
    [("lambda", "attn"), ("linear", "attn"), ("nystrom", "aft"), ("linear", "aft")],
)
def test_the_root_of_the_difference(one: str, other: str) -> None:
    options: dict[str, Any] = {"tokens": 98, "dim": 96, "heads": 3}
    N = sympy.Symbol("N", integer=True, positive=True)
    models = [layer(mixer, **options) for mixer in (one, other)]
    macs = [model.substitute(tokens=N, grid=None).formula().total(Measure.MACS) for model in models]
    difference = sympy.Poly(sympy.expand(macs[0] - macs[1]), N)
    (root,) = (root for root in sympy.real_roots(difference) if root > 0)
    found = find(models[0], models[1], ONCE, option="tokens")["macs"]
    first = max(found.first, (sympy.floor(root / found.step) + 1) * found.step)
    if difference.LC() < 0:  # the one is cheaper from there on
        assert ends(found.cheaper) == [(first, found.last)]
    else:
        assert ends(found.dearer) == [(first, found.last)]


# Assumptions on costs, for every mixer


def differences(costs: list[int]) -> list[int]:
    return [after - before for before, after in pairwise(costs)]


BARE = [spelling for spelling in SPELLINGS if spelling.model == "layer"][::3]


ALONE = Workload()
MIXED = Workload(batch=3, dtype="bf16", autocast=True, checkpoint=True, optimizer="sgd")


@pytest.mark.parametrize(("spelling", "workload"), [*zip(BARE, cycle([ALONE, MIXED]))], ids=str)
def test_what_grows_with_the_tokens(spelling: Spelling, workload: Workload) -> None:
    model = spelling.specify()
    tokens = [side**2 for side in range(1, 13)] if spelling.placed else range(1, 31)
    costs: dict[str, list[int]] = {measure: [] for measure in EXACT}
    for number in tokens:
        try:
            here = model.at({"tokens": number})
        except SpecError:
            continue
        here = here if spelling.placed else here.substitute(grid=None)
        for counted in OF_FORWARD:
            costs[counted.value].append(here.formula(workload.batch).total(counted))
        # A norm over the tokens of all images has nothing to train with where there is one.
        if number * workload.batch > 1:
            costs["memory"].append(peak_bytes(here, workload))
            costs["training_macs"].append(COSTS["training_macs"](here, workload, None))
    for measure, amounts in costs.items():
        assert len(amounts) > 2
        assert min(differences(amounts)) >= 0
        if spelling.placed:
            continue
        steps = amounts[1:]
        for _ in range(smoothness(model, measure) + 1):
            steps = differences(steps)
            assert min(steps) >= 0, measure


SIZES = {
    **{"image_size": range(4, 28, 4), "dim": range(4, 36, 4), "depth": range(1, 6)},
    **{"channels": range(1, 5), "classes": range(1, 5), "batch": range(1, 6)},
    **{"class_layers": range(1, 6), "branches": range(1, 6), "frames": range(1, 6)},
    **{"decoder_dim": range(16, 80, 16), "decoder_depth": range(1, 6)},
    **{"image_width": range(0, 28, 4), "features": range(1, 7), "projection": range(1, 7)},
    **{"key_depth": range(1, 7), "receptive_field": range(1, 13, 2), "intra_depth": range(1, 7)},
    **{"iterations": range(1, 7), "kernel_size": range(1, 13, 2), "pool_size": range(1, 13, 2)},
    "sepconv_kernel": range(1, 13, 2),
    **{"token_hidden": range(7), "bias_dim": range(1, 7), "latent": range(1, 7)},
    **{"gate_rank": range(1, 7), "expand": range(1, 5), "channel_ratio": range(1, 5)},
    **{"state": range(1, 5), "dt_rank": range(1, 5), "conv_width": range(1, 5)},
}


def test_every_option_whose_costs_grow_is_tried() -> None:
    options = [kind.declared() for kind in (*MODELS.values(), *MIXERS.values())]
    grow = {
        name
        for own in options
        for name, kind in own.items()
        if isinstance(kind, Whole) and kind.grows and kind.unit != "tokens"
    }
    assert grow | {"batch"} == {*SIZES}


@pytest.mark.parametrize(("mixer", "model"), [*zip(MIXERS, cycle(["mae", "classifier"]))])
def test_what_grows_with_other_options(mixer: str, model: str) -> None:
    given: dict[str, Any] = {**MIXER_SIZES, "patch_size": 4, "image_size": 12}
    given |= {"landmarks": 1, "window": 1, "factorised": True}
    if MIXERS[mixer]().needs_grid:
        if model == "mae":
            return
        given["pool"] = "class"
    options = {name: given[name] for name in given if name in MIXERS[mixer].declared()}
    options |= {name: given[name] for name in ("patch_size", "image_size")}
    options |= {"pool": "class"} if "pool" in given else {}
    options |= {"depth": 2} | ({"decoder_depth": 2} if model == "mae" else {})
    if MIXERS[mixer].halves_heads:
        options |= {"heads": 2} | ({"decoder_heads": 8} if model == "mae" else {})
    made = specify(model, mixer=mixer, options=options)
    which = [*MIXERS].index(mixer)
    for option, sizes in SIZES.items():
        kind = options_of(made).get(option)
        # The options of a model with every third mixer, its own with each.
        if not isinstance(kind, Whole) or (which % 3 and option not in made.mixer.declared()):
            continue
        for measure in ("params", "macs", "memory"):
            costs = []
            for size in sizes:
                workload = replace(ONCE, batch=size) if option == "batch" else ONCE
                try:
                    costs.append(cost(made, workload, measure, option, size))
                except SpecError:
                    continue
            if option == "frames" and len(costs) == 1:
                continue  # a mixer of neighbours, which a video has no grid for
            assert len(costs) > 2, option
            # At a size of 1 views can become copies; the search takes the first two sizes alone.
            steps = differences(costs[2:])
            assert min(steps, default=0) >= 0, (option, measure, costs)
            if kind.convex:
                assert min(differences(steps), default=0) >= 0, (option, measure, costs)


def test_memory_of_a_scan_is_searched_where_it_is_found_in_a_moment() -> None:
    """Follow each of its steps, up to 256 tokens unless a larger size is asked for."""
    found = find(layer("mamba"), layer("attn"), ONCE, option="tokens")
    assert (found["memory"].last, found["macs"].last) == (256, found["params"].last)
    asked = find(layer("mamba"), layer("attn"), ONCE, option="tokens", first=299, last=300)
    assert asked["memory"].last == 300
