"""Small real images with their labels, none of them downloaded.

scikit-learn's digits (1,797 images of 8 × 8 pixels), or a folder that holds the four files
of Fashion-MNIST or MNIST (70,000 images of 28 × 28), compressed or not.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path

import torch
from torch import Tensor

DIGITS_FOR_TEST = 360  # a fifth
_UNSIGNED_BYTE = 0x08


class DataError(Exception):
    """Images that cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images (n, 1, side, side) of pixels from 0 to 1, and their classes (n)."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class DataSet:
    """What is learnt from, and what is tested on."""

    train: Images
    test: Images

    @property
    def side(self) -> int:
        """Pixels along a side of an image."""
        return self.train.pixels.shape[-1]

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return 1 + int(torch.cat([self.train.labels, self.test.labels]).max())


def load(folder: Path | None) -> DataSet:
    """The images of a folder, or the digits where none is given.

    Raises:
        DataError: scikit-learn is not installed, or a file is missing or is none of these.
    """
    return _digits() if folder is None else _fashion_mnist(folder)


def _digits() -> DataSet:
    try:
        digits = import_module("sklearn.datasets").load_digits()
    except ImportError:
        raise DataError(
            "scikit-learn, which has the digits, is not installed; "
            "pip install scikit-learn, or give --data DIR"
        ) from None
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    pixels = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 16
    labels = torch.tensor(digits.target, dtype=torch.int64)[order]
    split = DIGITS_FOR_TEST
    return DataSet(
        train=Images(pixels[split:], labels[split:]), test=Images(pixels[:split], labels[:split])
    )


def _fashion_mnist(folder: Path) -> DataSet:
    data = DataSet(train=_images(folder, "train"), test=_images(folder, "t10k"))
    if data.train.pixels.shape[1:] != data.test.pixels.shape[1:]:
        raise DataError(f"the images to learn from and to test on differ in size in {folder}")
    return data


def _images(folder: Path, part: str) -> Images:
    pixels = _idx(folder, f"{part}-images-idx3-ubyte", axes=3)
    labels = _idx(folder, f"{part}-labels-idx1-ubyte", axes=1)
    count, height, width = pixels.shape
    if len(labels) != count or not count:
        raise DataError(f"{folder} has {count} images and {len(labels)} labels for {part!r}")
    if height != width:
        raise DataError(f"the images in {folder} are {height} × {width}; they have to be square")
    return Images(pixels[:, None].float() / 255, labels.long())


def _idx(folder: Path, name: str, *, axes: int) -> Tensor:
    """Read a file of the format IDX: two zeros, type, axes, their sizes, the bytes."""
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            break
    else:
        raise DataError(f"there is no {name} or {name}.gz in {folder}")
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    start = 4 + 4 * axes
    sizes = [int.from_bytes(content[at : at + 4]) for at in range(4, start, 4)]
    if content[:4] != bytes([0, 0, _UNSIGNED_BYTE, axes]) or len(content) != start + prod(sizes):
        raise DataError(f"{path} is no whole IDX file of bytes along {axes} axes")
    return torch.tensor(list(content[start:]), dtype=torch.uint8).reshape(sizes)
