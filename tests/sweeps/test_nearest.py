"""The nearest sizes: the search against an evaluation of every size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice, product
from random import Random

import pytest
from combinations import cases

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.sweeps.axis import Axis, Number
from vitprof.sweeps.costs import COSTS
from vitprof.sweeps.nearest import Nearest, Space, nearest_cost, nearest_count
from vitprof.sweeps.points import Place
from vitprof.values.options import Whole, pairs

Costs = Mapping[tuple[Number, ...], int]
SIDES = ("exact", "below", "above")


def by_brute_force(costs: Costs, target: int, most: int) -> dict[str, list[tuple[Number, ...]]]:
    """Sort all sizes: by distance, the cheaper first, then the larger first."""
    ranked = sorted(
        costs, key=lambda at: (abs(costs[at] - target), costs[at] > target, [-one for one in at])
    )
    on_side = {
        "exact": [at for at in ranked if costs[at] == target],
        "below": [at for at in ranked if costs[at] < target],
        "above": [at for at in ranked if costs[at] > target],
    }
    return {side: some[:most] for side, some in on_side.items()}


def places(found: Nearest) -> dict[str, list[tuple[Number, ...]]]:
    return {side: [tuple(one.place.values()) for one in getattr(found, side)] for side in SIDES}


def moving(costs: Costs, along: int) -> bool:
    """True if the costs change along one of the options."""
    lines: dict[tuple[Number, ...], set[int]] = {}
    for at, cost in costs.items():
        lines.setdefault((*at[:along], *at[along + 1 :]), set()).add(cost)
    return any(len(line) > 1 for line in lines.values())


def assert_nearest(found: Nearest, costs: Costs, target: int, most: int, said: str) -> None:
    assert places(found) == by_brute_force(costs, target, most), said
    for side in SIDES:
        for near in getattr(found, side):
            assert near.cost == costs[tuple(near.place.values())], said
    assert found.number == sum(cost == target for cost in costs.values()), said
    assert found.admitted == len(costs), said


def space_of(model: Model, random: Random, number: int) -> Space:
    """Draw options of a model and their values, of which its rules admit some."""
    options = {name: kind for name, kind in model.options().items() if isinstance(kind, Whole)}
    axes = []
    for name in random.sample(sorted(options), number):
        kind, step = options[name], random.choice([1, 1, 2, 3])
        wide = name in ("dim", "decoder_dim", "image_size", "tokens")
        values = range(max(kind.minimum, random.choice([0, 1, 1, 2])), 26 if wide else 7, step)
        odd = [value for value in values if value % 2]
        axes.append(Axis(name, tuple(odd or [1]) if kind.odd else tuple(values)))
    return Space(model, tuple(axes), {})


def evaluated(space: Space, cost: Callable[[Place], int]) -> dict[tuple[Number, ...], int]:
    """Return the cost of every size at which a step can be run."""
    costs = {}
    for values in product(*(axis.values for axis in space.axes)):
        try:
            place = dict(zip((axis.name for axis in space.axes), values, strict=True))
            costs[values] = cost(place)
        except SpecError:
            continue
    return costs


def target_of(costs: Costs, random: Random) -> int:
    amounts = [*costs.values()]
    return random.choice(amounts) + random.choice([0, 0, 1, -1, (max(amounts) - min(amounts)) // 7])


@pytest.mark.parametrize("measure", ["params", "macs", "memory"])
def test_what_is_found_is_nearest_of_all(measure: str) -> None:
    """Options, models, mixers and workloads are drawn; rules admit only some of the sizes."""
    random, number, moved = Random(5), 0, 0
    for model, workload in islice(cases(5), 12 if measure == "memory" else 25):
        space = space_of(model, random, random.choice([1, 2] if measure == "memory" else [1, 2, 3]))

        def cost(place: Place, space: Space = space, workload: Workload = workload) -> int:
            return COSTS[measure](space.at(place), workload, None)

        if space.size > (24 if measure == "memory" else 150):
            continue
        costs = evaluated(space, cost)
        if not costs:
            continue
        target, most = target_of(costs, random), random.choice([1, 2, 5, 30])
        if measure != "memory":
            found = nearest_count(space, Measure(measure), workload.batch, target, most)
        else:
            found = nearest_cost(space, cost, target, most, trend=1, check=lambda number: None)
        assert_nearest(found, costs, target, most, pairs(model.conditions()))
        for along, axis in enumerate(space.axes):
            if axis.name in found.idle:
                assert not moving(costs, along)
            elif measure != "memory" and len(axis.values) > 1:
                assert moving(costs, along)
        number += 1
        moved += len({*costs.values()}) > 2
    assert number > 5
    assert moved > 3


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("most", [1, 3, 100])
def test_equal_costs_are_in_order(sign: int, most: int) -> None:
    """A cost that stays the same over several sizes, as the largest batch does."""
    space = Space(
        specify("classifier", options={"dim": 12, "heads": 2}),
        (Axis("depth", tuple(range(1, 40))), Axis("heads", (1, 2, 3, 4, 5))),
        {},
    )

    def cost(place: Place) -> int:
        space.at(place)  # 5 heads do not divide the dim
        return sign * (int(place["depth"]) // 7 + 2 * int(place["heads"]))

    costs = evaluated(space, cost)
    assert len(costs) == 39 * 4
    for target in range(-16, 17):
        found = nearest_cost(space, cost, target, most, trend=sign, check=lambda number: None)
        assert_nearest(found, costs, target, most, str(target))
        assert found.idle == ()


def test_few_sizes_are_evaluated_where_a_cost_grows() -> None:
    calls: list[Place] = []
    bounds: list[int] = []

    def cost(place: Place) -> int:
        calls.append(place)
        return int(place["depth"]) ** 2

    space = Space(specify("classifier"), (Axis("depth", tuple(range(1, 1025))),), {})
    found = nearest_cost(space, cost, 500**2 + 1, 2, trend=1, check=bounds.append)
    assert places(found) == {"exact": [], "below": [(500,), (499,)], "above": [(501,), (502,)]}
    assert len(calls) < 25
    assert len(calls) <= bounds[0] + 2 * 2
    calls.clear()
    assert nearest_cost(space, cost, 500**2 + 1, 2, trend=0, check=bounds.append) == found
    assert len(calls) == bounds[1] == 1024


def test_a_square_number_of_tokens_has_another_formula() -> None:
    """A cost that grows along the squares, and along the others, but not from 16 to 17."""
    space = Space(specify("layer"), (Axis("tokens", tuple(range(1, 60))),), {})
    squares = [side**2 for side in range(1, 8)]

    def cost(place: Place) -> int:
        tokens = int(place["tokens"])
        return 3 * tokens if tokens in squares else 2 * tokens

    costs = evaluated(space, cost)
    for target in range(121):
        found = nearest_cost(space, cost, target, 3, trend=1, check=lambda number: None)
        assert_nearest(found, costs, target, 3, str(target))


def test_heads_follow_the_dim() -> None:
    """Of each dim only the heads that keep 4 channels are looked at, for counts and for memory."""
    model, workload = specify("classifier", mixer="lambda"), Workload(batch=3)
    axes = (Axis("depth", (1, 2, 3)), Axis("dim", tuple(range(4, 44, 4))))
    space = Space(model, axes, {"dim": ("heads", 4)})
    for measure in ("params", "macs", "memory"):
        costs: Costs = {
            (depth, dim): COSTS[measure](
                model.at({"depth": depth, "dim": dim, "heads": dim // 4}), workload, None
            )
            for depth in (1, 2, 3)
            for dim in range(4, 44, 4)
        }
        target = costs[2, 20] + 1
        if measure != "memory":
            found = nearest_count(space, Measure(measure), 3, target, 4)
        else:

            def cost(place: Place) -> int:
                return COSTS["memory"](space.at(place), workload, None)

            found = nearest_cost(space, cost, target, 4, trend=1, check=lambda number: None)
        assert_nearest(found, costs, target, 4, measure)
        assert space.full(found.below[0].place) == {"depth": 2, "dim": 20, "heads": 5}


@pytest.mark.parametrize(
    ("dims", "batch"), [((64, 500_000, 999_999), 10**9), ((64, 96), 1)], ids=["counts", "target"]
)
def test_numbers_beyond_64_bits(dims: tuple[int, ...], batch: int) -> None:
    model = specify("classifier", options={"heads": 1})
    space = Space(model, (Axis("dim", dims), Axis("depth", (1, 10_000))), {})

    def cost(place: Place) -> int:
        return COSTS["macs"](space.at(place), Workload(batch=batch), None)

    costs = evaluated(space, cost)
    for target in (2**62, 2**80, max(costs.values())):
        found = nearest_count(space, Measure.MACS, batch, target, 3)
        assert_nearest(found, costs, target, 3, str(target))
