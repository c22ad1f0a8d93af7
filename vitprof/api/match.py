"""`vitprof.match`: find the sizes at which a variant costs what a reference costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vitprof.captured.subject import CapturedModel
from vitprof.errors import SpecError, listing, unknown
from vitprof.formulas.layer import OF_FORWARD, Measure
from vitprof.formulas.model import Model
from vitprof.progress import Say, quiet
from vitprof.report.match import Match, Sized, title_of
from vitprof.request.budget import Budget, read_budget
from vitprof.request.match import check_sides, reference_of, variant_of
from vitprof.request.side_by_side import Candidate, without_module
from vitprof.request.specs import described
from vitprof.request.workload import Workload, take_workload
from vitprof.subject import Configurable
from vitprof.sweeps.axis import Axis
from vitprof.sweeps.costs import COSTS
from vitprof.sweeps.nearest import (
    MOST_COMBINATIONS,
    Near,
    Nearest,
    Space,
    nearest_cost,
    nearest_count,
)
from vitprof.sweeps.points import Place, first_defined
from vitprof.sweeps.vary import Varied, check_vary, read_vary
from vitprof.values.options import Value, Whole, label_of, pairs, plain
from vitprof.version import versions

SHOWN = Whole("number of sizes to list", maximum=1_000)
MANY = 10  # sizes listed by default, if several options are varied
POINTS = Whole("largest number of sizes at which a step is laid out", maximum=10_000_000)
MAX_POINTS, MAX_TRACES = 10_000, 100  # by default: minutes, of a module too
_ROUNDED = ("gpu_memory", "batch")  # may be the same at all sizes of a range, and not of another
_FURTHER = 4  # factor of the next range, if nothing in an open range costs more

MEASURES = ("params", "macs", "training_macs", "memory", "gpu_memory", "batch")
_CONVENTIONS = {
    "params": "parameters are all, trained or not",
    "macs": "a MAC is one multiply and one add of a contraction in a forward pass of the batch",
    "training_macs": (
        "training MACs are those of a forward and a backward pass, with what is recomputed"
    ),
    "memory": (
        "memory is the most that the tensors of a step hold at once, by formula, and of a module "
        "by a trace"
    ),
    "gpu_memory": "memory on the GPU is what a step takes of it with all that a GPU adds",
    "batch": (
        "the largest batch is the largest whose memory is within the budget, on a GPU with all "
        "that a GPU adds"
    ),
}


def match(
    model: str | Model | CapturedModel | None = None,
    workload: Workload | None = None,
    *,
    vary: str | Iterable[str] | Mapping[str, object] = (),
    by: str = "macs",
    mixer: str | None = None,
    reference: str | Mapping[str, object] | Model | CapturedModel | None = None,
    keep_head_dim: bool = False,
    show: int | str | None = None,
    memory: str | None = None,
    gpu: str | None = None,
    torch: str | None = None,
    max_points: int | str | None = None,
    say: Say = quiet,
    **options: object,
) -> Match:
    """Find the sizes at which a variant costs what a reference costs, nearest below and above.

    Args:
        model: name of the variant's model, or a variant that is built; None for that of a preset.
        workload: settings of the step of both; None to make it from `options`.
        vary: options to vary, `"dim"` or `["dim", "depth=2:24"]`, with the values to try after
            an equals sign: `64:1024` for all whole numbers from 64 to 1,024, or a range as in
            `sweep`; or a dict of ranges by name, None for one without a range.
        by: cost that both are to have: `params`, `macs`, `training_macs`, `memory`, `gpu_memory` or
            `batch`; training MACs are shown only where both are to have them.
        mixer: the variant's mixer.
        reference: `"NAME"` of a preset, a model or a module, `"NAME,OPTION=VALUE,..."`, a dict of
            options, or a model made by `specify`; None for the preset of `options`.
        keep_head_dim: let the heads follow a varied dim, with as many channels in each as the
            variant has without being varied.
        show: number of sizes to list; None for 10 if several options are varied, else for the
            nearest. The nearest below and above are always listed.
        memory: memory budget of the largest batch, such as `24GiB`.
        gpu: GPU that a step has to fit with all that a GPU adds, such as `h100`.
        torch: version of PyTorch on that GPU, such as `2.11`; None for the newest known.
        max_points: largest number of sizes at which memory or the largest batch is predicted;
            None for 10,000, and for 100 of a module, which is traced.
        say: called with a message on the current progress.
        **options: options of the workload, and of the variant; the reference has those of them
            that say what a model reads and returns, such as the image size and the classes.

    Raises:
        SpecError: a name is unknown, a value or a range is not allowed, the variant is defined
            nowhere in the ranges, an option has no effect on it or on its cost, or there are too
            many sizes.
    """
    workload = take_workload(workload, options)
    budget = read_budget(memory, gpu, torch)
    _check_measure(by, budget, workload)
    most = None if show is None else SHOWN.read("show", show)
    limit = None if max_points is None else POINTS.read("max_points", max_points)
    say("reading the models")
    candidate = variant_of(model, mixer, options)
    ranges, own = read_vary(vary), without_module(options)
    check_vary(ranges, candidate.declared(), own)
    target, apart = reference_of(reference, candidate, options)
    base = _base(candidate, own, needed=keep_head_dim)
    varied = Varied(
        ranges=ranges,
        declared=candidate.declared(),
        values={} if base is None else base.values(),
        ties={},
        most=MOST_COMBINATIONS,
    )
    if keep_head_dim:
        varied = varied.with_head_dims()
    if base is None:
        base = first_defined(lambda place: candidate.specify({**own, **place}), varied.axes())
        varied = replace(varied, values=base.values())
    check_sides(base, target, own, swept=ranges)
    axes = varied.axes()
    search = _Search(by=by, workload=workload, budget=budget, limit=limit, say=say)
    wanted = search.target(target)
    number = most or (MANY if len(axes) > 1 else 1)
    space = Space(base, axes, varied.ties)
    found = search.nearest(space, wanted, number)
    while varied.open and not found.idle and not (found.below if by == "batch" else found.above):
        axes = varied.axes(end=_FURTHER * int(axes[0].values[-1]))
        if axes == space.axes:  # the largest value that is allowed
            break
        space = Space(base, axes, varied.ties)
        found = search.nearest(space, wanted, number)
    _check_found(found, space, by)
    measures = [
        name
        for name in MEASURES
        if name == by or (name != "training_macs" and _is_known(name, budget))
    ]
    sizes = []
    for side, near in _listed(found, number):
        place = space.full(near.place)
        say(f"computing all costs at {pairs(place)}")
        sizes.append(search.sized(side, space.at(near.place), place, measures))
    return Match(
        by=by,
        measures=tuple(measures),
        reference=search.sized("reference", target, {}, measures),
        variant={name: v for name, v in base.conditions().items() if name not in sizes[0].place},
        sizes=tuple(sizes),
        ranges={axis.name: _words(axis) for axis in axes},
        admitted=found.admitted,
        exact_number=found.number,
        apart={name: str(value) for name, value in apart.items()},
        workload=workload.values(),
        budget=budget,
        versions=versions([]),
        convention="; ".join(_CONVENTIONS[measure] for measure in measures),
    )


def _check_measure(by: str, budget: Budget | None, workload: Workload) -> None:
    if by not in MEASURES:
        raise unknown("measure", by, MEASURES)
    if by == "training_macs" and workload.inference:
        raise SpecError("training MACs are of a training step; leave out inference")
    if by == "gpu_memory" and not _is_known(by, budget):
        raise SpecError("memory on a GPU needs its name; give --gpu, such as h100, or --by memory")
    if by == "batch" and budget is None:
        raise SpecError(
            "the largest batch needs a memory budget; give --gpu, such as h100, or --memory, such "
            "as 24GiB"
        )


def _is_known(measure: str, budget: Budget | None) -> bool:
    if measure == "gpu_memory":
        return budget is not None and budget.platform is not None
    return measure != "batch" or budget is not None


def _base(candidate: Candidate, own: Mapping[str, object], *, needed: bool) -> Configurable | None:
    """Return the variant before it is varied; None if its rules do not admit it.

    Raises:
        SpecError: it is needed and not admitted.
    """
    try:
        return candidate.specify(own)
    except SpecError:
        if needed:
            raise
        return None


def _check_found(found: Nearest, space: Space, by: str) -> None:
    if not found.admitted:
        name = described(space.model.conditions())
        first = {axis.name: axis.values[0] for axis in space.axes}
        try:
            space.at(first)
        except SpecError as error:
            raise SpecError(
                f"{name} is defined at none of {space.size:,} sizes; at {pairs(first)}: {error}"
            ) from error
    if found.idle and by not in _ROUNDED:
        raise SpecError(
            f"{listing(map(label_of, found.idle), 'and')} changes nothing in the "
            f"{title_of(by)} of {described(space.model.conditions())}; vary another "
            "option, or match by another measure"
        )


def _listed(found: Nearest, number: int) -> list[tuple[str, Near]]:
    """Return the nearest sizes with their sides, and the nearest on each side in any case."""
    sides = {"exact": found.exact, "below": found.below, "above": found.above}
    every = [(side, near) for side, some in sides.items() for near in some]
    every.sort(key=lambda one: found.order(one[1]))
    nearest = [(side, some[0]) for side, some in sides.items() if some]
    return [one for place, one in enumerate(every) if place < number or one in nearest]


def _words(axis: Axis) -> str:
    """Return the values of an axis in words: `6 to 4,092 in steps of 6`."""
    first, *_, last = (*axis.values[:1], *axis.values)
    steps = {after - before for before, after in zip(axis.values, axis.values[1:], strict=False)}
    if len(axis.values) > 2 and len(steps) == 1:
        (step,) = steps
        every = "" if step == 1 else f" in steps of {plain(step)}"
        return f"{plain(first):,} to {plain(last):,}{every}"
    if len(axis.values) <= 8:
        return ", ".join(f"{plain(value):,}" for value in axis.values)
    return f"{len(axis.values):,} values from {plain(first):,} to {plain(last):,}"


@dataclass(frozen=True, kw_only=True)
class _Search:
    """Costs under a workload, each computed once, and the search for the nearest.

    Attributes:
        by: the cost that is matched.
        workload: settings of the step.
        budget: memory or GPU; None without one.
        limit: largest number of steps that are laid out; None for the one by default.
        say: called with a message on the current progress.
    """

    by: str
    workload: Workload
    budget: Budget | None
    limit: int | None
    say: Say
    known: dict[tuple[object, ...], int] = field(default_factory=dict)

    def target(self, model: Configurable) -> int:
        """Return the cost of the reference.

        Raises:
            SpecError: not even one image fits.
        """
        self.say("computing the cost of the reference")
        cost = COSTS[self.by](model, self.workload, self.budget)
        if self.by == "batch" and not cost:
            assert self.budget is not None
            raise SpecError(
                f"not even one image of {described(model.conditions())} fits {self.budget.name}; "
                "give more memory"
            )
        return cost

    def nearest(self, space: Space, wanted: int, number: int) -> Nearest:
        """Find the sizes whose cost is nearest to that of the reference.

        Raises:
            SpecError: there are too many sizes.
        """
        if space.size > MOST_COMBINATIONS:
            sizes = " × ".join(f"{len(axis.values):,}" for axis in space.axes)
            raise SpecError(
                f"there are {sizes} = {space.size:,} sizes, and at most {MOST_COMBINATIONS:,} are "
                f"searched; give ranges, such as --vary {space.axes[0].name}=64:1024:+64"
            )
        self.say(f"searching {space.size:,} sizes")
        if self.by in [measure.value for measure in OF_FORWARD]:
            return nearest_count(space, Measure(self.by), self.workload.batch, wanted, number)
        return nearest_cost(
            space,
            lambda place: self._cost(space, place),
            wanted,
            number,
            trend=self._trend(space.model),
            check=lambda evaluations: self._check(evaluations, space),
        )

    def _trend(self, model: Configurable) -> int:
        """Return 1 if the cost is known to grow with options that are declared to, -1 if to fall.

        The segments of an allocator and the workspaces of kernels are rounded, so that of memory
        on a GPU nothing is known, nor of what is traced.
        """
        if isinstance(model, CapturedModel) or self.by == "gpu_memory":
            return 0
        if self.by in ("memory", "training_macs"):
            return 1
        return -1 if self.budget is not None and self.budget.platform is None else 0

    def _check(self, evaluations: int, space: Space) -> None:
        traced = isinstance(space.model, CapturedModel)
        limit = self.limit or (MAX_TRACES if traced else MAX_POINTS)
        if evaluations > limit:
            what = "trace a step" if traced else "lay out a step"
            raise SpecError(
                f"the search would {what} at up to {evaluations:,} sizes, and --max-points is "
                f"{limit:,}; give ranges, such as --vary {space.axes[0].name}=64:1024:+64, or a "
                "larger --max-points"
            )

    def _cost(self, space: Space, place: Place) -> int:
        key = tuple(place.items())
        if key not in self.known:
            self.say(f"{title_of(self.by)} at {pairs(place)}")
            self.known[key] = COSTS[self.by](space.at(place), self.workload, self.budget)
        return self.known[key]

    def sized(
        self, side: str, model: Configurable, place: Mapping[str, Value], measures: Sequence[str]
    ) -> Sized:
        """Return a model with all its costs; None for one that it does not have."""
        amounts: dict[str, int | None] = {}
        reason = ""
        for measure in measures:
            try:
                amounts[measure] = COSTS[measure](model, self.workload, self.budget)
            except SpecError as error:
                amounts[measure], reason = None, str(error)
        return Sized(side=side, place=dict(place), model=model, amounts=amounts, reason=reason)
