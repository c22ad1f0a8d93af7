"""Train the classifier with any mixer on real images, and test it class by class.

python examples/train_classifier.py --mixer lambda
python examples/train_classifier.py --data DIR     (the four files of Fashion-MNIST)
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch
from images import DataError, DataSet, Images, load
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vitprof import SpecError, specify
from vitprof.formulas.mixers import MIXERS
from vitprof.modules.build import build
from vitprof.running.device import find_device


def train(module: nn.Module, images: Images, given: Namespace) -> None:
    """Go through the images `given.epochs` times, in a new order each time."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=given.lr)
    steps = given.epochs * -(-len(images) // given.batch)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=steps)
        for epoch in range(given.epochs):
            for chosen in torch.split(torch.randperm(len(images)), given.batch):
                loss = cross_entropy(module(images.pixels[chosen]), images.labels[chosen])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                scheduler.step()
                text = f"epoch {epoch + 1} of {given.epochs}, loss {loss.item():.4f}"
                progress.update(task, advance=1, description=text)


@torch.no_grad()
def predict(module: nn.Module, images: Images, batch: int) -> Tensor:
    """The logits of every image."""
    return torch.cat([module(pixels) for pixels in torch.split(images.pixels, batch)])


def report(logits: Tensor, labels: Tensor) -> str:
    """The loss, and the accuracy of each class and of all."""
    right = logits.argmax(dim=1) == labels
    lines = [f"Test Loss: {cross_entropy(logits, labels).item():.6f}", ""]
    for label in range(logits.shape[1]):
        lines.append(f"Test Accuracy of Class {label}: {accuracy(right[labels == label])}")
    return "\n".join([*lines, "", f"Test Accuracy (Overall): {accuracy(right)}"])


def accuracy(right: Tensor) -> str:
    """The share of what is right: `84.70% (847/1000)`."""
    number, count = int(right.sum()), len(right)
    return f"{100 * number / count:.2f}% ({number}/{count})" if count else "n/a (0/0)"


def standardised(data: DataSet, device: torch.device) -> tuple[Images, Images]:
    """Both parts on the device, by the mean and the deviation of what is learnt from."""
    mean, deviation = data.train.pixels.mean(), data.train.pixels.std()
    train, test = (
        Images(((part.pixels - mean) / deviation).to(device), part.labels.to(device))
        for part in (data.train, data.test)
    )
    return train, test


def positive(word: str) -> int:
    """A whole number from 1."""
    number = int(word)
    if number < 1:
        raise ValueError
    return number


def arguments() -> ArgumentParser:
    parser = ArgumentParser(description="Train the classifier with any mixer on real images.")
    option = parser.add_argument
    option("--mixer", choices=tuple(MIXERS), default="attn", help="default: %(default)s")
    option("--data", type=Path, metavar="DIR", help="Fashion-MNIST's files (default: the digits)")
    option("--epochs", type=positive, default=20, metavar="N", help="default: %(default)s")
    option("--batch", type=positive, default=64, metavar="N", help="default: %(default)s")
    option("--lr", type=float, default=2e-3, help="highest learning rate (default: %(default)s)")
    option("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    option("--dim", default=64, metavar="N", help="default: %(default)s")
    option("--depth", default=4, metavar="N", help="default: %(default)s")
    option("--heads", default=4, metavar="N", help="default: %(default)s")
    option("--patch-size", metavar="N", help="default: 2 for images of 8 × 8, else 4")
    option("--device", default="cpu", metavar="NAME", help="cpu or cuda (default: %(default)s)")
    return parser


def main() -> None:
    parser = arguments()
    given = parser.parse_args()
    try:
        device = find_device(given.device)
        data = load(given.data)
        model = specify(
            "classifier",
            mixer=given.mixer,
            options={
                "image_size": data.side,
                "patch_size": given.patch_size or (2 if data.side == 8 else 4),
                "classes": data.classes,
                **{name: getattr(given, name) for name in ("dim", "depth", "heads")},
            },
        )
    except (DataError, SpecError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    torch.manual_seed(given.seed)
    module = build(model, device=str(device))
    learnt, tested = standardised(data, device)
    train(module.train(), learnt, given)
    print(report(predict(module.eval(), tested, given.batch), tested.labels))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("interrupted") from None
