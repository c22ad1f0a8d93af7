"""Random combinations of every option, mixer, model and workload, at small odd sizes.

Options that are right alone and in pairs can be wrong in threes. As a script, this module
compares the formula with a trace after every allocation, for a number of combinations:

    python tests/helpers/combinations.py --number 2000 --seed 1
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from random import Random
from typing import Any

from vitprof.allocation.departures import EAGER, TRACED
from vitprof.allocation.launches import Kind, Launch
from vitprof.allocation.step import follow, launches, peaks
from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.errors import SpecError
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.request.specs import specify, specify_loosely
from vitprof.request.workload import BUCKETS, DEVICES, DTYPES, KERNELS, OPTIMIZERS, Workload
from vitprof.running.trace import trace
from vitprof.values.options import (
    Choice,
    Flag,
    Option,
    Placed,
    Ratio,
    Whole,
    Wholes,
    pairs,
    why_idle,
)

# Few values, so that sizes are often equal, divide each other, or are 1.
_NUMBERS: dict[str, tuple[int, ...]] = {
    **{"image_size": (2, 4, 6, 9, 12), "image_width": (0, 0, 0, 4, 6), "patch_size": (1, 2, 3, 4)},
    **{"channels": (1, 2, 3), "tokens": (1, 2, 3, 4, 5, 7, 9, 16), "classes": (1, 2, 5)},
    **{"dim": (4, 8, 12, 20, 24), "decoder_dim": (4, 8, 12), "heads": (1, 2, 3, 4)},
    **{"decoder_heads": (1, 2, 4), "depth": (1, 2, 3, 4), "decoder_depth": (1, 2, 3)},
    **{"depths": (1, 2, 3), "widths": (4, 8, 12), "stage_heads": (1, 2, 4)},
    **{"stem_kernel": (0, 0, 3, 5), "merge_kernel": (2, 3, 5), "branches": (1, 1, 1, 2, 3)},
    **{"patch_width": (0, 0, 0, 1, 2, 3), "patch_stride": (0, 0, 0, 1, 2, 3)},
    **{"patch_stride_width": (0, 0, 0, 1, 2), "frames": (1, 1, 1, 2, 4, 6), "tubelet": (1, 1, 2)},
    **{"stem_kernel": (0, 0, 3, 5), "merge_kernel": (2, 3, 5), "mlp_ratios": (1, 2, 3)},
    **{"reduction": (1, 2), "sra_pool": (0, 0, 2, 3), "res_scale_from": (1, 1, 2)},
}
_RATIOS = {
    **{"mlp_ratio": ("0.5", "1", "2", "4"), "mask_ratio": ("0", "0.3", "0.5", "0.75")},
    **{"dropout": ("0", "0", "0.1"), "drop_path": ("0", "0", "0.2")},
}

Case = tuple[Model, Workload]


def cases(seed: int) -> Iterator[Case]:
    """Yield valid combinations without end, in an order that depends on the seed only."""
    random = Random(seed)
    while True:
        try:
            case = _model(random), _workload(random)
            follow(*case)
        except SpecError:
            continue
        yield case


def _model(random: Random) -> Model:
    model, mixer = random.choice([*MODELS]), random.choice([*MIXERS])
    if model != "layer" and random.random() < 0.2:
        mixer = "+".join([mixer, *random.choices([*MIXERS], k=random.choice((1, 1, 2)))])
    declared = {**MODELS[model].declared(), **find_mixer(mixer).declared()}
    stages = random.choice((1, 2, 2, 3))
    options = {name: _value(random, name, option, stages) for name, option in declared.items()}
    given = {name: value for name, value in options.items() if value is not None}
    loose = specify_loosely(model, mixer=mixer, options=given)
    values, needs = (
        {**loose.values(), **loose.mixer.values()},
        {**loose.needs(), **loose.mixer.needs()},
    )
    for name in needs:  # one that has no effect is refused
        if why_idle(name, needs[name], values) is not None:
            given.pop(name, None)
    return specify(model, mixer=mixer, options=given)


def _value(random: Random, name: str, option: Option, stages: int) -> object:
    """Draw a value of an option; None for its default."""
    if isinstance(option, Wholes):
        of_one = name in ("mlp_ratios", "reduction") and random.random() < 0.5
        return [random.choice(_NUMBERS[name]) for _ in range(1 if of_one else stages)]
    if isinstance(option, Whole):
        if name in _NUMBERS:
            return random.choice(_NUMBERS[name])
        numbers = [option.minimum, 1, 2, 3, 5] if option.minimum == 0 else [1, 2, 3, 4, 6]
        return random.choice([number for number in numbers if number % 2 or not option.odd])
    if isinstance(option, Placed):
        return f"0={random.choice([*MIXERS])}" if random.random() < 0.3 else None
    if isinstance(option, Ratio):
        return random.choice(_RATIOS[name]) if name in _RATIOS else None
    if isinstance(option, Choice):
        return random.choice(option.names) if random.random() < 0.6 else None
    assert isinstance(option, Flag)
    return random.random() < 0.5 if random.random() < 0.35 else None


def _workload(random: Random) -> Workload:
    dtype, inference = random.choice(["fp32", *DTYPES]), random.random() < 0.2
    optimizer = "adamw" if inference else random.choice(OPTIMIZERS)
    kernel = "foreach" if inference else "loop" if optimizer == "lamb" else random.choice(KERNELS)
    return Workload(
        batch=random.choice((1, 1, 1, 2, 3)),
        device=random.choice(DEVICES),
        dtype=dtype,
        autocast=dtype != "fp32" and random.random() < 0.5,
        checkpoint=not inference and random.random() < 0.3,
        inference=inference,
        optimizer=optimizer,
        kernel=kernel,
        accumulate=1 if inference or random.random() < 0.7 else random.choice((2, 3)),
        keep_gradients=not inference and random.random() < 0.3,
        clip=not inference and random.random() < 0.3,
        ddp="none" if inference or random.random() < 0.6 else random.choice(BUCKETS),
    )


def case_of(words: Mapping[str, object]) -> Case:
    """Build a case from options of the command line."""
    own = {name: value for name, value in words.items() if name in Workload.declared()}
    model = {name: value for name, value in words.items() if name not in own}
    name, mixer = model.pop("model", None), model.pop("mixer", None)
    return (
        specify(name, mixer=mixer, options=model),  # type: ignore[arg-type]
        Workload(**{"batch": 2, **own}),  # type: ignore[arg-type]
    )


def described(case: Case) -> str:
    """Return model and workload as one line."""
    model, workload = case
    return f"{pairs(model.conditions())}; {pairs(workload.values())}"


# Each of the kernels of fused attention, and numbers of multiprocessors that differ.
PLATFORMS = [
    Platform(gpu=find_gpu(name), torch=torch)
    for name, torch in (
        *(("h100", (2, 11)), ("a100-80", (2, 13)), ("rtx4090", (2, 13))),
        *(("t4", (2, 11)), ("v100-16", (1, 13)), ("b200", (2, 13))),
    )
]

Levels = dict[str, list[int]]  # bytes held after each allocation, by phase


def levels(case: Case, **how: Any) -> Levels:
    """Return the levels by formula; `how` is passed to `follow`."""
    timeline = follow(*case, every=True, **how)[0].eager.timeline
    held = timeline.levels()
    return {phase: held[begin:end] for phase, (begin, end) in timeline.phases.items()}


def differences(case: Case) -> list[str]:
    """Return the phases in which formula and trace differ after some allocation."""
    own, traced = levels(case, departures=TRACED), trace(*case).levels
    return [phase for phase in own if own[phase] != [*traced[phase]]]


def on_gpus(seed: int) -> Iterator[tuple[Case, Platform]]:
    """Yield combinations on a GPU, each with one by name."""
    for number, case in enumerate(case for case in cases(seed) if case[1].device == "cuda"):
        yield case, PLATFORMS[number % len(PLATFORMS)]


def differences_on(case: Case, platform: Platform) -> list[str]:
    """Return phases in which formula and trace on a named GPU differ.

    They may in the peak of the phase, or in what any kernel reads, writes or multiplies.
    """
    own = peaks(*case, departures=EAGER, platform=platform)
    traced = trace(*case, platform=platform)
    found = [phase for phase, peak in own.items() if peak != traced.by_phase[phase]]
    for phase, some in launches(*case, platform, every=True).items():
        if moved(some) != moved(traced.launches[phase]):
            found.append(f"launches of {phase}")
    return found


def moved(some: Iterable[Launch]) -> list[tuple[Kind, int, int, int, str, bool]]:
    """Return kind, bytes read and written, multiply-accumulates and dtype of each launch.

    And whether autograd records it.
    """
    return [(one.kind, one.read, one.written, one.macs, one.dtype, one.recorded) for one in some]


def main() -> int:
    parser = ArgumentParser(description="Compare formulas with traces after every allocation.")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    wrong = 0
    for number, case in enumerate(islice(cases(arguments.seed), arguments.number)):
        phases = differences(case)
        if case[1].device == "cuda":
            phases += differences_on(case, PLATFORMS[number % len(PLATFORMS)])
        if phases:
            wrong += 1
            print(f"{', '.join(phases)}: {described(case)}")
    print(f"{wrong} of {arguments.number} combinations differ (seed {arguments.seed})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
