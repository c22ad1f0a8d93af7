"""Pretrain the masked autoencoder with any mixer on real images, and draw what it sees.

    python examples/pretrain_mae.py --mixer linear --picture mae.png
    python examples/pretrain_mae.py --data DIR     (the four files of Fashion-MNIST)

Each row of the picture is an image, the same with its dropped patches grey, and with the
dropped patches as they are predicted from the others.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from images import DataError, load
from rich.console import Console
from rich.progress import Progress, TaskID
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad
from train_classifier import positive, standardised

from vitprof import SpecError, specify
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.modules.build import build
from vitprof.modules.patches import patchify
from vitprof.running.device import find_device

ROWS, GAP, CELL = 8, 2, 96  # images in the picture, pixels between them, least pixels of each
DIGIT, UPSCALED = 8, 4  # the digits are so small that they are shown at four times their side


def train_epoch(
    module: nn.Module,
    images: Tensor,
    optimizer: torch.optim.Optimizer,
    *,
    batch: int,
    bar: tuple[Progress, TaskID],
) -> float:
    """Go through the images once, in a new order; the mean loss."""
    progress, task = bar
    total = 0.0
    for chosen in torch.split(torch.randperm(len(images)), batch):
        loss = module(images[chosen])[0]
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        total += loss.item() * len(chosen)
        progress.advance(task)
    return total / len(images)


@contextmanager
def same_masks(module: nn.Module) -> Iterator[None]:
    """Evaluate with masks that are the same each time, so that losses can be compared."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        module.eval()
        yield
        module.train()


def test_loss(module: nn.Module, images: Tensor, batch: int) -> float:
    """The mean squared error of the dropped patches' pixels."""
    with same_masks(module):
        losses = [module(part)[0] * len(part) for part in torch.split(images, batch)]
        return torch.stack(losses).sum().item() / len(images)


def draw(module: nn.Module, images: Tensor, patch_size: int) -> Tensor:
    """Rows of an image, what is seen of it, and what is made of that: (height, width)."""
    with same_masks(module):
        _, prediction, mask = module(images)
    dropped = mask[:, :, None]
    seen = patchify(images, (patch_size, patch_size))
    grey = (images.amin() + images.amax()) / 2
    columns = (seen, seen * (1 - dropped) + grey * dropped, seen + (prediction - seen) * dropped)
    shown = torch.stack([unpatchify(patches, patch_size) for patches in columns], dim=1)
    shown = (shown - images.amin()) / (images.amax() - images.amin())
    side = shown.shape[-1]
    scale = -(-CELL // side)
    enlarged = shown.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    framed = pad(enlarged, (0, GAP, 0, GAP), value=1.0)
    n, across, height, width = framed.shape
    page = framed.permute(0, 2, 1, 3).reshape(n * height, across * width)
    return (page[:-GAP, :-GAP].clamp(0, 1) * 255).round().to(torch.uint8)


def unpatchify(patches_BNP: Tensor, patch_size: int) -> Tensor:
    """Put the patches of images of one channel back in their places: (B, side, side)."""
    B, N, _ = patches_BNP.shape
    rows = round(N**0.5)
    grid = patches_BNP.reshape(B, rows, rows, patch_size, patch_size)
    return grid.permute(0, 1, 3, 2, 4).reshape(B, rows * patch_size, rows * patch_size)


def check_picture(file: Path, *, force: bool) -> None:
    """Raise DataError where the picture cannot be written, before an hour is spent on it."""
    if find_spec("PIL") is None:
        raise DataError("Pillow, which writes the picture, is not installed; pip install pillow")
    if file.suffix.lower() != ".png":
        raise DataError(f"{file} does not end in .png; the picture is one")
    if not file.parent.is_dir():
        raise DataError(f"there is no directory {file.parent}; create it first")
    if file.exists() and not force:
        raise DataError(f"{file} exists and is left as it is; --force replaces it")


def write_picture(file: Path, page: Tensor, *, force: bool) -> None:
    """Write the picture, whole or not at all.

    Raises:
        DataError: it cannot be written, or exists by now.
    """
    from PIL import Image  # noqa: PLC0415

    try:
        with TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
            complete = Path(folder) / file.name
            Image.fromarray(page.numpy(force=True)).save(complete)
            check_picture(file, force=force)
            complete.replace(file)
    except OSError as error:
        raise DataError(f"cannot write {file}: {(error.strerror or str(error)).lower()}") from error


def arguments() -> ArgumentParser:
    parser = ArgumentParser(description="Pretrain the masked autoencoder on real images.")
    option = parser.add_argument
    option("--mixer", choices=tuple(MIXERS), default="attn", help="default: %(default)s")
    option("--data", type=Path, metavar="DIR", help="Fashion-MNIST's files (default: the digits)")
    option("--epochs", type=positive, default=20, metavar="N", help="default: %(default)s")
    option("--batch", type=positive, default=64, metavar="N", help="default: %(default)s")
    option("--lr", type=float, default=2e-3, help="learning rate (default: %(default)s)")
    option("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    option("--patch-size", default=4, metavar="N", help="default: %(default)s")
    option("--mask-ratio", default="0.75", metavar="RATIO", help="default: %(default)s")
    for name, default in (("dim", 64), ("depth", 4), ("heads", 4)):
        option(f"--{name}", default=default, metavar="N", help="default: %(default)s")
    for name, default in (("dim", 64), ("depth", 2), ("heads", 4)):
        option(f"--decoder-{name}", default=default, metavar="N", help="default: %(default)s")
    option("--device", default="cpu", metavar="NAME", help="cpu or cuda (default: %(default)s)")
    option("--picture", type=Path, metavar="FILE", help=f"PNG of {ROWS} test images to write")
    option("--force", action="store_true", help="let --picture replace FILE")
    return parser


def specified(given: Namespace, side: int) -> Model:
    """The model of these options, for images of `side` pixels along a side.

    Raises:
        SpecError: a value is not allowed.
    """
    names = ["patch_size", "mask_ratio", "dim", "depth", "heads"]
    names += ["decoder_dim", "decoder_depth", "decoder_heads"]
    options = {name: getattr(given, name) for name in names}
    return specify("mae", mixer=given.mixer, options={"image_size": side, **options})


def pretrain(module: nn.Module, learnt: Tensor, tested: Tensor, given: Namespace) -> None:
    """Go through the images `given.epochs` times, and print the losses of each."""
    trained = [weights for weights in module.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=given.lr)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        steps = given.epochs * -(-len(learnt) // given.batch)
        bar = progress, progress.add_task("training", total=steps)
        for epoch in range(given.epochs):
            loss = train_epoch(module, learnt, optimizer, batch=given.batch, bar=bar)
            on_tested = test_loss(module, tested, given.batch)
            print(
                f"Epoch {epoch + 1}: train loss {loss:.6f}, test loss {on_tested:.6f}", flush=True
            )


def run(given: Namespace) -> None:
    """Pretrain, and draw the picture if one is asked for.

    Raises:
        DataError: there are no images, or the picture cannot be written.
        SpecError: a value is not allowed.
    """
    if given.picture:
        check_picture(given.picture, force=given.force)
    device = find_device(given.device)
    data = load(given.data)
    scale = UPSCALED if data.side == DIGIT else 1
    model = specified(given, data.side * scale)
    torch.manual_seed(given.seed)
    module = build(model, device=str(device))
    learnt, tested = (
        interpolate(part.pixels, scale_factor=scale, mode="bilinear")
        for part in standardised(data, device)
    )
    pretrain(module, learnt, tested, given)
    if given.picture:
        page = draw(module, tested[:ROWS], int(given.patch_size))
        write_picture(given.picture, page, force=given.force)
        print(f"Picture: {given.picture}")


def main() -> None:
    parser = arguments()
    given = parser.parse_args()
    try:
        run(given)
    except (DataError, SpecError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("interrupted") from None
