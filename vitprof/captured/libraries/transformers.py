"""Models of transformers: `transformers:ViTModel`, or `transformers:PATH/config.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

from vitprof.captured.libraries.base import (
    CHANNELS,
    InLibrary,
    attempt,
    image,
    import_library,
    pair,
    whole,
)
from vitprof.captured.reference import Argument
from vitprof.captured.source import BATCH_AXIS, Input
from vitprof.errors import SpecError, listing, unknown
from vitprof.text import quoted

_ANY_SIZE = 224  # of models that take images of any size
TOKENS = 128  # of a text, or as many as the model takes
_ATTENTION = "attn_implementation"  # a word with a slash would be code of a hub
_KERNELS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
_MODEL = re.compile(r"[A-Z]\w*(Model|Backbone|For[A-Z]\w+|Encoder|Decoder|Generation)")
_LENGTHS = ("max_position_embeddings", "max_target_positions", "n_positions")
_FRAMES = ("num_frames", "frames_per_clip")


@dataclass(frozen=True, kw_only=True)
class Transformers(InLibrary):
    """A model of transformers, built from its configuration; nothing is downloaded."""

    def look_up(self) -> None:
        self._config_class  # noqa: B018  # raises if there is none
        self._check_arguments()

    @classmethod
    def names(cls) -> list[str]:
        """Return the names that look like those of models; to import them all takes minutes."""
        places: Mapping[str, str] = import_library("transformers")._class_to_module
        return sorted(
            name
            for name, place in places.items()
            if place.startswith("models.")
            and _MODEL.fullmatch(name)
            and not name.startswith(("TF", "Flax"))
            and not name.endswith("PreTrainedModel")
        )

    def make(self) -> object:
        config = self._config()
        # Some build a part of themselves with pretrained weights.
        for part in _parts(config):
            if getattr(part, "use_pretrained_backbone", False):
                part.use_pretrained_backbone = False
        return self._class(config)

    def known_inputs(self) -> tuple[Input, ...]:
        config, main = self._config(), str(self._class.main_input_name)
        takes = signature(self._class.forward).parameters
        text, images = _text(config), _images(config)
        inputs: tuple[Input, ...]
        if main == "pixel_values":
            return () if images is None else (images,)
        if main == "input_features":
            heard = _spectrum(config)
            inputs = () if heard is None else (heard,)
        elif main != "input_ids":
            return ()
        elif images is not None and "pixel_values" in takes:
            mask = Input(name="attention_mask", axes=text, dtype="int64")
            return (Input(name=main, axes=text, dtype="int64"), images, mask)
        else:
            inputs = (Input(name=main, axes=text, dtype="int64"),)
        if inputs and config.is_encoder_decoder and "decoder_input_ids" in takes:
            inputs += (Input(name="decoder_input_ids", axes=text, dtype="int64"),)
        return inputs

    def size_arguments(self, height: int, width: int) -> dict[str, Argument] | None:
        key = next(
            (
                prefix + "image_size"
                for prefix, part in _with_images(self._config())
                if getattr(part, "image_size", None) is not None
            ),
            None,
        )
        if key is None:
            return None
        if height == width:
            return {key: height}
        size: dict[str, Argument] = {key: (height, width)}
        return size if self._builds_with(size) else None

    def _builds_with(self, more: Mapping[str, Argument]) -> bool:
        import torch

        arguments = {**self.arguments, **more}
        other = Transformers(place=self.place, name=self.name, arguments=arguments)
        try:
            with torch.device("meta"):
                other.build()
        except SpecError:
            return False
        return True

    @cached_property
    def _file(self) -> Mapping[str, Any] | None:
        """The contents of the configuration file; None if a class is named."""
        if not ("/" in self.name or self.name.endswith(".json")):
            return None
        path = Path(self.name)
        try:
            path = path / "config.json" if path.is_dir() else path
            read = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SpecError(
                f"cannot read {path}: {reason}; give the config.json of a model, or the name of a "
                "class"
            ) from error
        except ValueError as error:
            raise SpecError(f"{path} is not JSON: {error}") from error
        except RecursionError as error:
            raise SpecError(f"{path} nests lists too deep; give a model's config.json") from error
        names = read.get("architectures") if isinstance(read, dict) else None
        if not (isinstance(names, list) and names and isinstance(names[0], str)):
            raise SpecError(
                f"{path} names no class under architectures; add it, such as "
                '"architectures": ["ViTModel"]'
            )
        return dict(read)

    @cached_property
    def _class(self) -> Any:
        """The class of the model."""
        transformers = import_library("transformers")
        name = self.name if self._file is None else str(self._file["architectures"][0])
        found = attempt(
            f"{self.reference} cannot be imported",
            lambda: getattr(transformers, name, None),
            "install what it needs",
        )
        if hasattr(found, "main_input_name") and getattr(found, "config_class", None) is not None:
            return found
        if found is not None or name.startswith("Auto"):
            raise SpecError(
                f"{name} of transformers is no model that can be built from a configuration of "
                "its own; give the class of one model, such as ViTModel"
            )
        if self._file is not None:
            raise SpecError(
                f"{self.name} is for the class {name}, which transformers does not have, and code "
                "that comes with a configuration is never run; give it as package.module:factory"
            )
        raise self.unknown("class")

    @property
    def _config_class(self) -> Any:
        return self._class.config_class

    @cached_property
    def _default(self) -> Any:
        """A configuration without arguments; None if it cannot be without them."""
        try:
            return attempt("", lambda: self._config_class.from_dict(dict(self._file or {})), "")
        except SpecError:
            return None

    def _check_arguments(self) -> None:
        """Refuse what the configuration does not have: transformers would keep and ignore it."""
        for key in self.arguments:
            *parts, last = key.split(".")
            owner = self._default
            for part in parts:
                owner = getattr(owner, part, None) if owner is not None else None
                if self._default is not None and owner is None:
                    raise self._no_argument(key, part, self._default)
            if owner is None or key == _ATTENTION or hasattr(owner, last):
                continue
            raise self._no_argument(key, last, owner)

    def _no_argument(self, key: str, part: str, owner: Any) -> SpecError:
        known = [name for name in signature(type(owner)).parameters if name != "kwargs"]
        within = f" under {key.removesuffix(part).rstrip('.')}" if key.endswith(f".{part}") else ""
        return unknown(f"argument of {self.reference}{within} called", part, known)

    def _config(self) -> Any:
        values: dict[str, Any] = dict(self._file or {})
        for key, value in self.arguments.items():
            *parts, last = key.split(".")
            owner, of = values, self._default
            for part in parts:
                of = getattr(of, part, None)
                own = owner.get(part)
                if own is None:
                    own = {} if of is None else of.to_dict()
                owner[part] = owner = dict(own)
            owner[last] = value
        # By key alone: what the values say of it is dropped.
        by_key = {_ATTENTION: values.pop(_ATTENTION)} if values.get(_ATTENTION) else {}
        config = attempt(
            f"{self.reference} cannot be configured",
            lambda: self._config_class.from_dict(values, **by_key),
            "give arguments that suit it by --arg",
        )
        for kernels in filter(None, _attention(config)):
            if kernels not in _KERNELS:
                raise SpecError(f"{_ATTENTION} can be {listing(_KERNELS)}, not {quoted(kernels)}")
        return config


def _with_images(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield the configuration and its part for images, each with the prefix of its keys."""
    yield "", config
    part = getattr(config, "vision_config", None)
    if part is not None:
        yield "vision_config.", part


def _parts(config: Any) -> Iterator[Any]:
    yield config
    for name in getattr(config, "sub_configs", {}):
        part = getattr(config, name, None)
        if part is not None:
            yield from _parts(part)


def _attention(config: Any) -> Iterator[object]:
    """Yield the kernels of attention that a configuration and its parts ask for."""
    yield getattr(config, f"_{_ATTENTION}", None)
    for value in vars(config).values():
        if hasattr(type(value), "from_dict"):
            yield from _attention(value)


def _images(config: Any) -> Input | None:
    for _, part in _with_images(config):
        size = pair(getattr(part, "image_size", None))
        if size is not None:
            channels = getattr(part, "num_channels", None) or CHANNELS
            frames = next((getattr(part, name) for name in _FRAMES if hasattr(part, name)), None)
            if frames is None:
                return image(channels, *size, name="pixel_values")
            axes = (BATCH_AXIS, whole(frames), whole(channels), *size)
            return Input(name="pixel_values", axes=axes)
    channels = getattr(config, "num_channels", None)
    if channels is None or hasattr(config, "image_size"):
        return None
    return image(channels, _ANY_SIZE, _ANY_SIZE, name="pixel_values")


def _text(config: Any) -> tuple[int | str, ...]:
    for part in (config, getattr(config, "text_config", None)):
        for name in _LENGTHS:
            length = getattr(part, name, None)
            if isinstance(length, int) and length > 0:
                return (BATCH_AXIS, min(TOKENS, length))
    return (BATCH_AXIS, TOKENS)


def _spectrum(config: Any) -> Input | None:
    """Return the input of sound, two frames for each position, as Whisper has it."""
    bins = getattr(config, "num_mel_bins", None)
    positions = getattr(config, "max_source_positions", None)
    if bins is None or positions is None:
        return None
    return Input(name="input_features", axes=(BATCH_AXIS, whole(bins), 2 * whole(positions)))
