"""Workloads: batch, dtype, optimizer and other conditions of a step besides the model."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from vitprof.errors import SpecError, listing
from vitprof.text import quoted
from vitprof.values.options import Constraint, Needs, Options, Whole, choice, flag, needing, whole

DTYPES = {"fp32": 4, "bf16": 2, "fp16": 2}  # name -> bytes of an element
_AUTOCAST = "-autocast"
NAMES_OF_DTYPES: dict[str, dict[str, Any]] = {  # their settings
    **{name: {"dtype": name} for name in DTYPES},
    **{f"{n}{_AUTOCAST}": {"dtype": n, "autocast": True} for n in DTYPES if n != "fp32"},
}
DEVICES = ("cuda", "cpu")
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "lamb")
KERNELS = ("foreach", "fused", "loop")
BUCKETS = ("none", "buckets", "view")
BATCH = Whole("images at a time", maximum=1_000_000_000, grows=1_024, convex=True)


_TRAINING: tuple[Needs, ...] = ({"inference": (False,)},)


def _of_training(declared: Any) -> Any:
    """Declare that an option has an effect on a training step only."""
    return needing(declared, *_TRAINING)


@dataclass(frozen=True, kw_only=True)
class Workload(Options):
    """A training step, or an inference step, on a batch of images.

    A training step is a forward pass, a backward pass and an optimizer step; the gradients
    are freed before the next forward pass (`zero_grad(set_to_none=True)`) unless they are kept.
    With gradient accumulation, the forward and backward pass are those of the last batch.
    """

    device: str = choice(
        "cuda", names=DEVICES, help="device whose kernels and autocast the step uses"
    )
    batch: int = whole(1, maximum=BATCH.maximum, help=BATCH.help)
    dtype: str = choice("fp32", names=tuple(DTYPES), help="dtype of weights and activations")
    autocast: bool = needing(
        flag(
            False,
            help="mixed precision by autocast: weights in fp32, contractions in --dtype, which "
            "may say so itself: bf16-autocast",
        ),
        {"dtype": ("bf16", "fp16")},
    )
    optimizer: str = _of_training(
        choice("adamw", names=OPTIMIZERS, help="optimizer of a training step")
    )
    kernel: str = _of_training(
        choice("foreach", names=KERNELS, help="implementation of the optimizer in PyTorch")
    )
    checkpoint: bool = _of_training(
        flag(
            False,
            help="activation checkpointing of each block: recompute it in the backward pass",
        )
    )
    accumulate: int = _of_training(
        whole(
            1,
            maximum=10_000,
            help="batches whose gradients are added up in a step; the last is reported",
        )
    )
    keep_gradients: bool = _of_training(
        flag(False, help="keep gradients between steps: zero_grad(set_to_none=False)")
    )
    clip: bool = _of_training(
        flag(False, help="clip gradients by their total norm: clip_grad_norm_")
    )
    ddp: str = _of_training(
        choice(
            "none",
            names=BUCKETS,
            help="gradient buckets of DistributedDataParallel, beside the gradients or as their "
            "memory",
        )
    )
    inference: bool = flag(
        False, help="a forward pass in eval mode, without gradients, instead of a training step"
    )

    def constraints(self) -> Iterator[Constraint]:
        yield from self.effects()
        yield Constraint(
            not (self.ddp == "view" and self.keep_gradients),
            lambda: (
                "ddp view keeps the memory of gradients in its buckets; leave out keep gradients"
            ),
        )
        yield Constraint(
            self.optimizer != "lamb" or self.kernel == "loop",
            lambda: (
                f"kernel {self.kernel} is none of lamb, which updates parameter by parameter; "
                "give kernel loop"
            ),
        )

    def __post_init__(self) -> None:
        if isinstance(self.dtype, str):  # `bf16-autocast` is two settings
            vars(self).update(NAMES_OF_DTYPES.get(self.dtype, {}))
        super().__post_init__()

    @property
    def adds_gradients(self) -> bool:
        """True if the last batch of a step finds gradients, and adds its own in place."""
        return self.keep_gradients or self.accumulate > 1

    def as_inference(self) -> Self:
        """Return the same in inference, without what only training has."""
        training = [name for name, needs in self.needs().items() if needs == _TRAINING]
        defaults: dict[str, Any] = {name: self.default(name) for name in training}
        return replace(self, inference=True, **defaults)


def workloads_of(dtypes: Iterable[str], options: Mapping[str, Any]) -> dict[str, Workload]:
    """Return a workload for each dtype, by its name.

    Args:
        dtypes: names of dtypes; `bf16-autocast` is autocast of fp32 weights to bf16.
        options: values of the other settings by name.

    Raises:
        SpecError: a dtype is unknown or named twice, none is named, or a value is not allowed.
    """
    names = [name.strip() for name in dtypes]
    if not names:
        raise SpecError(f"no dtype is named; name some of {listing(NAMES_OF_DTYPES, 'and')}")
    for name in names:
        if name not in NAMES_OF_DTYPES:
            raise SpecError(f"dtype can be {listing(NAMES_OF_DTYPES)}, not {quoted(name)}")
        if names.count(name) > 1:
            raise SpecError(f"the dtype {name} is named twice; name it once")
    if len(names) > 1 and options.get("autocast"):
        raise SpecError(
            f"autocast is part of a dtype's name where there are several; name "
            f"{listing(name for name in NAMES_OF_DTYPES if name.endswith(_AUTOCAST))}"
        )
    return {name: Workload(**{**options, "dtype": name}) for name in names}


def take_workload(
    workload: Workload | None, options: dict[str, object], *, without: Container[str] = ()
) -> Workload:
    """Return `workload`, or build one from the options that a workload has.

    Args:
        workload: the workload; None to build one.
        options: values by name; the options of a workload that is built are removed.
        without: options that stay in `options`.

    Raises:
        SpecError: a value is not allowed.
    """
    if workload is not None:
        if not isinstance(workload, Workload):  # a caller without types
            raise SpecError(
                f"a workload is a vitprof.Workload, not of type {type(workload).__name__}; a "
                "module is named by its reference here, module='file.py:factory'"
            )
        return workload
    names = [name for name in Workload.declared() if name in options and name not in without]
    own: dict[str, Any] = {name: options.pop(name) for name in names}
    return Workload(**own)


def place_of(device: str | None, workload: Workload, *, measured: bool) -> tuple[str, Workload]:
    """Return the device that the models are on, and the workload with the type of that device.

    Args:
        device: `cpu`, `cuda` or `cuda:1`; None for the CPU if steps are run, else for the
            device of the workload.
        workload: how the models are trained or run.
        measured: True if steps are run.

    Raises:
        SpecError: there is no such device.
    """
    place = device or ("cpu" if measured else workload.device)
    return place, replace(workload, device=place.partition(":")[0])
