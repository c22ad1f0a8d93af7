"""Models of timm, by name: `timm:vit_base_patch16_224`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import ClassVar

from vitprof.captured.libraries.base import InLibrary, attempt, image, import_library, pair
from vitprof.captured.reference import Argument
from vitprof.captured.source import Input
from vitprof.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Timm(InLibrary):
    """A model of timm; its input is that of its pretrained weights, which are not loaded."""

    forbidden: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            "pretrained",
            "pretrained_cfg",
            "pretrained_cfg_overlay",
            "checkpoint_path",
            "cache_dir",
        ),
        "loads pretrained weights or their description",
    )

    def look_up(self) -> None:
        timm = import_library("timm")
        if not timm.is_model(self.name):
            raise self.unknown("model")
        attempt(
            f"{self.reference} cannot be found",
            lambda: timm.models.get_pretrained_cfg(self.name),
            "leave out what follows the dot, or give a tag that timm has",
        )

    @classmethod
    def names(cls) -> list[str]:
        return [str(name) for name in import_library("timm").list_models()]

    @classmethod
    def image_of(cls, name: str) -> str:
        return "x".join(map(str, _input_size(name)))

    def make(self) -> object:
        return import_library("timm").create_model(self.name, pretrained=False, **self.arguments)

    def known_inputs(self) -> tuple[Input, ...]:
        if not (known := _input_size(self.name)):
            return ()
        channels, *size = known
        given = pair(self.arguments.get("img_size"))
        return (image(self.arguments.get("in_chans", channels), *(given or size)),)

    def size_arguments(self, height: int, width: int) -> dict[str, Argument] | None:
        return {"img_size": (height, width)} if self._takes_size else None

    @cached_property
    def _takes_size(self) -> bool:
        """True if the class of the model takes `img_size`; it has to be built to know its class."""
        import torch

        for device in ("meta", "cpu"):  # some cannot be built on meta
            with suppress(SpecError), torch.device(device):
                return "img_size" in signature(type(self.build())).parameters
        return False


def _input_size(name: str) -> tuple[int, ...]:
    """Return channels, height and width; none if the model's author said nothing of them."""
    known = import_library("timm").models.get_pretrained_cfg(name)
    return () if known is None else tuple(known.input_size)
