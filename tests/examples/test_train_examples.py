"""Training examples: every mixer learns real images, and the output has the report's figures.

The digits need scikit-learn; Fashion-MNIST's files are generated here.
"""

from __future__ import annotations

import gzip
import re
import runpy
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
Capture = pytest.CaptureFixture[str]

TINY = ("--batch=16", "--dim=32", "--depth=1", "--lr=5e-3")
TINY_MAE = (*TINY, "--patch-size=8", "--decoder-dim=32", "--decoder-depth=1")
CLASS = r"Test Accuracy of Class (\d): (\d+\.\d\d)% \((\d+)/(\d+)\)\n"
REPORT = (
    r"Test Loss: \d+\.\d{6}\n\n"
    r"(?:Test Accuracy of Class \d: \d+\.\d\d% \(\d+/\d+\)\n){10}"
    r"\nTest Accuracy \(Overall\): (\d+\.\d\d)% \((\d+)/(\d+)\)\n"
)

needs_digits = pytest.mark.skipif(
    not any((Path(place) / "sklearn").is_dir() for place in sys.path),
    reason="scikit-learn, which has the digits, is not installed",
)
every_mixer = pytest.mark.parametrize("mixer", ["attn", "lambda"])
every_example = pytest.mark.parametrize("example", ["train_classifier", "pretrain_mae"])


@pytest.fixture(autouse=True)
def as_a_script(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the examples' folder on the path; run on one thread, since more only wait."""
    monkeypatch.syspath_prepend(EXAMPLES)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)
    for name in ("images", "train_classifier"):
        sys.modules.pop(name, None)


def run(example: str, *words: str | Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{example}.py", *map(str, words)])
        runpy.run_path(str(EXAMPLES / f"{example}.py"), run_name="__main__")


def refused(capsys: Capture, example: str, *words: str | Path) -> str:
    """Run an example that is refused; return its error sentence."""
    with pytest.raises(SystemExit) as ended:
        run(example, *words)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith(f"{example}.py: ")
    assert err.count("\n") == 1
    return err


@needs_digits
@every_mixer
def test_classifier_learns(capsys: Capture, mixer: str) -> None:
    run("train_classifier", f"--mixer={mixer}", "--epochs=4", *TINY)
    out, err = capsys.readouterr()
    assert err == ""
    whole = re.fullmatch(REPORT, out)
    assert whole, out
    classes = [(int(right), int(count)) for _, _, right, count in re.findall(CLASS, out)]
    assert [int(label) for label, *_ in re.findall(CLASS, out)] == list(range(10))
    for (_, share, *_), (right, count) in zip(re.findall(CLASS, out), classes, strict=True):
        assert share == f"{100 * right / count:.2f}"
    right, count = (sum(column) for column in zip(*classes, strict=True))
    assert whole.groups() == (f"{100 * right / count:.2f}", str(right), str(count))
    assert count == 360
    assert right / count > 0.6  # by chance: 0.1


@needs_digits
@every_mixer
def test_masked_autoencoder_learns(capsys: Capture, mixer: str) -> None:
    run("pretrain_mae", f"--mixer={mixer}", "--epochs=2", *TINY_MAE)
    out, err = capsys.readouterr()
    assert err == ""
    lines = re.findall(r"Epoch (\d): train loss (\d\.\d{6}), test loss (\d\.\d{6})\n", out)
    assert [epoch for epoch, *_ in lines] == ["1", "2"]
    assert len(out.splitlines()) == 2
    train, test = ([float(line[column]) for line in lines] for column in (1, 2))
    assert train[1] < train[0]
    # The error of a prediction that knows nothing is the variance of the pixels, about 0.9.
    assert test[1] < 0.45


def idx(path: Path, sizes: tuple[int, ...], content: bytes) -> None:
    data = struct.pack(f">HBB{len(sizes)}I", 0, 8, len(sizes), *sizes) + content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write 8 × 8 images of two classes, dark and light; the labels uncompressed."""
    made = tmp_path / "data"
    made.mkdir()
    for part, count in (("train", 64), ("t10k", 10)):
        labels = [n % 2 for n in range(count)]
        pixels = b"".join(
            bytes([200 * label + n for n in range(50)] + [9] * 14) for label in labels
        )
        idx(made / f"{part}-images-idx3-ubyte.gz", (count, 8, 8), pixels)
        idx(made / f"{part}-labels-idx1-ubyte", (count,), bytes(labels))
    return made


def test_folder_of_images(capsys: Capture, folder: Path) -> None:
    run("train_classifier", "--data", folder, "--epochs=4", *TINY)
    out = capsys.readouterr().out
    assert "Test Accuracy of Class 1: 100.00% (5/5)\n\n" in out
    assert out.endswith("Test Accuracy (Overall): 100.00% (10/10)\n")


def test_class_without_an_image(capsys: Capture, folder: Path) -> None:
    idx(folder / "t10k-labels-idx1-ubyte", (10,), bytes(10))
    run("train_classifier", "--data", folder, "--epochs=1", *TINY)
    assert "Test Accuracy of Class 1: n/a (0/0)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("train-images-idx3-ubyte.gz", None, "no train-images-idx3-ubyte or train-images"),
        ("train-images-idx3-ubyte.gz", b"\x1f\x8bno", "cannot read .*train-images"),
        ("t10k-labels-idx1-ubyte", b"", "no whole IDX file of bytes along 1 axes"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\1\0\0\0\x0a123456789", "no whole IDX file"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\1\0\0\0\x011", "10 images and 1 labels for 't10k'"),
    ],
)
def test_folder_of_something_else(
    capsys: Capture, folder: Path, name: str, content: bytes | None, sentence: str
) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    assert re.search(sentence, refused(capsys, "train_classifier", "--data", folder))


def test_images_that_are_not_square(capsys: Capture, folder: Path) -> None:
    idx(folder / "train-images-idx3-ubyte.gz", (64, 4, 16), bytes(64 * 64))
    assert "4 × 16; they have to be square" in refused(capsys, "train_classifier", "--data", folder)


def test_images_of_two_sizes(capsys: Capture, folder: Path) -> None:
    idx(folder / "t10k-images-idx3-ubyte.gz", (10, 4, 4), bytes(160))
    assert "to test on differ in size" in refused(capsys, "train_classifier", "--data", folder)


@every_example
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--dim=30", "dim 30 is not divisible by 4"),
        ("--device=gpu7", "no device 'gpu7' here; PyTorch .* sees cpu"),
    ],
)
def test_bad_request(
    capsys: Capture, folder: Path, example: str, words: str, sentence: str
) -> None:
    assert re.search(sentence, refused(capsys, example, "--data", folder, words))


@every_example
def test_digits_need_scikit_learn(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, example: str
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "pip install scikit-learn, or give --data DIR" in refused(capsys, example)


def test_picture(capsys: Capture, folder: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow, which reads it, is not installed")
    picture = tmp_path / "mae.png"
    given = ("pretrain_mae", "--data", folder, "--epochs=1", *TINY_MAE, "--picture", picture)
    run(*given)
    assert capsys.readouterr().out.endswith(f"Picture: {picture}\n")
    with image.open(picture) as opened:
        # Eight images, three times each, of 32 × 32 pixels shown at 3 × 3, 2 pixels between.
        assert opened.size == (3 * 96 + 2 * 2, 8 * 96 + 7 * 2)
        assert (opened.format, opened.mode) == ("PNG", "L")
        cells = [opened.crop((98 * at, 0, 98 * at + 96, 96)) for at in range(3)]
    seen, masked, filled = (cell.tobytes() for cell in cells)
    grey = 127.5
    # Of 4 × 4 patches of 24 × 24 pixels, 4 are seen as they are and 12 are grey.
    kept = [at for at in range(96 * 96) if abs(masked[at] - grey) > 1]
    assert 0 < len(kept) <= 4 * 24 * 24
    assert all(masked[at] == seen[at] == filled[at] for at in kept)
    assert filled != seen
    before = picture.read_bytes()
    assert "--force replaces it" in refused(capsys, *given)
    assert picture.read_bytes() == before
    run(*given, "--seed=1", "--force")
    assert picture.read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "mae.png"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gone/mae.png", "no directory .*gone"), ("mae.jpg", r"mae\.jpg does not end in \.png")],
)
def test_picture_that_cannot_be(
    capsys: Capture, folder: Path, tmp_path: Path, name: str, sentence: str
) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    given = ("--data", folder, "--picture", tmp_path / name)
    assert re.search(sentence, refused(capsys, "pretrain_mae", *given))


def test_picture_needs_pillow(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    given = ("--data", folder, "--picture", "mae.png")
    assert "pip install pillow" in refused(capsys, "pretrain_mae", *given)


def test_picture_is_whole_or_not_at_all(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow, which writes it, is not installed")

    def half(self: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image.Image, "save", half)
    with pytest.raises(SystemExit) as ended:
        run(
            "pretrain_mae",
            "--data",
            folder,
            "--epochs=1",
            *TINY_MAE,
            "--picture",
            tmp_path / "x.png",
        )
    assert ended.value.code == 2
    assert "x.png: no space left on device" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
