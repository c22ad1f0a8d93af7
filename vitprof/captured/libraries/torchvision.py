"""Models of torchvision, by name: `torchvision:swin_t`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar

from vitprof.captured.libraries.base import CHANNELS, InLibrary, image, import_library, pair
from vitprof.captured.reference import Argument
from vitprof.captured.source import Input

_FRAMES = 16  # of a clip, as torchvision evaluates its models of videos


@dataclass(frozen=True, slots=True)
class _Sized:
    """An argument of the builders in a file that gives the size of images.

    Attributes:
        argument: its name.
        square: True if it is one number.
    """

    argument: str
    square: bool = False


_SIZED: Mapping[str, _Sized] = {
    "vision_transformer": _Sized("image_size", square=True),
    "maxvit": _Sized("input_size"),
    "mvit": _Sized("spatial_size"),
}
# Their random weights take minutes, and building them without saying so warns.
_SLOW = ("inception", "googlenet")


@dataclass(frozen=True, kw_only=True)
class Torchvision(InLibrary):
    """A model of torchvision; its input is what the transforms of its weights make."""

    forbidden: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("weights", "weights_backbone", "pretrained"), "loads pretrained weights"
    )

    def look_up(self) -> None:
        if self.name not in self.names():
            raise self.unknown("model")

    @classmethod
    def names(cls) -> list[str]:
        import_library("torchvision")
        return [str(name) for name in import_library("torchvision.models").list_models()]

    @classmethod
    def image_of(cls, name: str) -> str:
        known = _known(name, {})
        return "" if known is None else "x".join(map(str, known.axes[1:]))

    def make(self) -> object:
        models = import_library("torchvision.models")
        without: dict[str, object] = {"weights": None}
        if "weights_backbone" in signature(models.get_model_builder(self.name)).parameters:
            without["weights_backbone"] = None
        if any(word in self.name for word in _SLOW):
            without["init_weights"] = False
        return models.get_model(self.name, **{**without, **self.arguments})

    def known_inputs(self) -> tuple[Input, ...]:
        known = _known(self.name, self.arguments)
        return () if known is None else (known,)

    def size_arguments(self, height: int, width: int) -> dict[str, Argument] | None:
        sized = _SIZED.get(_file(self.name))
        if sized is None or (sized.square and height != width):
            return None
        return {sized.argument: height if sized.square else (height, width)}


def _known(name: str, arguments: Mapping[str, Argument]) -> Input | None:
    size = _size(name)
    sized = _SIZED.get(_file(name))
    if sized is not None:
        size = pair(arguments.get(sized.argument)) or size
    if size is None:
        return None
    if _builder(name).__module__.startswith("torchvision.models.video."):
        frames = arguments.get("temporal_size", _FRAMES)
        return image(CHANNELS, int(str(frames)), *size)
    return image(CHANNELS, *size)


def _size(name: str) -> tuple[int, int] | None:
    """Return height and width of what the transforms make; None if any size goes through."""
    weights = import_library("torchvision.models").get_model_weights(name)
    if not len(weights):
        return None
    if _file(name) not in _SIZED:
        return _made(weights.DEFAULT.transforms())
    # A model of one size is built at that of its usual weights, which fine-tuning enlarges.
    sizes = [size for one in weights if (size := _made(one.transforms())) is not None]
    return min(sizes, default=None)


def _made(transforms: object) -> tuple[int, int] | None:
    size = getattr(transforms, "crop_size", None) or getattr(transforms, "resize_size", None)
    if isinstance(size, list | tuple) and len(size) == 1:
        return pair(size[0])
    return pair(size)


def _file(name: str) -> str:
    return str(_builder(name).__module__).rpartition(".")[2]


def _builder(name: str) -> Any:
    return import_library("torchvision.models").get_model_builder(name)
