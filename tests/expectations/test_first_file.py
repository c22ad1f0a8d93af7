"""`vitprof check --write`: a first file."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import check_files
import pytest
import threads
from check_files import LAYER, Write, checked, refused, slips
from commands import Capture
from spellings import SOME, Spelling

from vitprof.counters import NAMES, TOOLS
from vitprof.expectations.file import read_cases
from vitprof.values.options import plain, why_idle

one_thread = threads.one_thread
nowhere_in_particular = check_files.nowhere_in_particular
write = check_files.write

SMALL = {
    **{"mask_ratio": "0.3", "dim": 12, "depth": 2, "heads": 3, "mlp_ratio": "1/3"},
    **{"decoder_dim": 20, "decoder_depth": 1, "decoder_heads": 5},
}


def words_of(spelling: Spelling) -> list[str]:
    spec = spelling.specify(SMALL)
    values = {**spec.values(), **spec.mixer.values()}
    needs = {**spec.needs(), **spec.mixer.needs()}
    words = [f"--model={spec.name}", f"--mixer={spec.mixer.name}"]
    for name, value in values.items():
        if name in needs and why_idle(name, needs[name], values) is not None:
            continue  # it would be refused
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words.append(f"--{option}={plain(value)}")
    return words


@pytest.mark.parametrize("spelling", SOME[::6], ids=str)
def test_a_first_file_is_green_and_each_digit_of_it_matters(
    capsys: Capture, tmp_path: Path, spelling: Spelling
) -> None:
    words = words_of(spelling)
    file = tmp_path / "first.toml"
    assert checked(capsys, "--write", "--batch=3", *words, file) == (0, "", "")
    (case,) = read_cases(file)
    assert (case.batch, case.reconciled) == (3, NAMES)
    assert {"all", "macs", "flops", "layers"} <= {it.key for it in case.expectations}
    derived = [it for it in case.expectations if not it.derivation.isdigit()]
    assert all("*" in it.derivation for it in derived)
    assert derived
    wrong = tuple(slip for it in case.expectations for slip in slips(it))
    assert not any(outcome.holds for outcome in replace(case, expectations=wrong).evaluate())
    code, out, err = checked(capsys, file)
    assert (code, err) == (0, "")
    number = len(case.expectations) + 2 * len(TOOLS)
    assert out.splitlines()[-1] == f"{number} of {number} expectations hold"


def test_a_first_file_names_every_choice_and_every_row(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "first.toml"
    words = ["--tokens=7", "--dim=15", "--heads=3", "--mlp-ratio=0.2", "--batch=2"]
    assert checked(capsys, "--write", file, *words) == (0, "", "")
    (table,) = tomllib.loads(file.read_text(encoding="utf-8"))["expect"]
    assert table["spec"] == {
        **{"model": "layer", "mixer": "attn", "tokens": 7, "dim": 15, "heads": 3},
        **{
            "mlp_ratio": 0.2,
            "mlp_hidden": 0,
            "mlp_multiple": 1,
            "mlp_bias": True,
            "mlp_norm": False,
            "activation": "relu",
            "fused": False,
            "batch": 2,
        },
        **{"kv_heads": 0, "qk_norm": False, "qkv_bias": True, "key_bias": True},
        **{"proj_bias": True, "rope": "none", "relative": "none", "relative_shared": False},
        **{"relative_hidden": 128, "talking_heads": False, "qk_norm_type": "layer"},
        **{"mlp": "plain", "block": "pre", "norm": "layer", "layer_scale": False},
        "patch_interaction": False,
        **{"dropout": 0, "drop_path": 0, "branches": 1, "norm_bias": True, "res_scale": False},
        "mlp_conv": "none",
    }
    assert list(table["params"].items())[5:] == [
        ("norm1", "2 * 15"),
        ("mixer.qkv", "15 * 45 + 45"),
        ("mixer.fc_out", "15 * 15 + 15"),
        ("norm2", "2 * 15"),
        ("mlp.fc1", "15 * 3 + 3"),
        ("mlp.fc2", "3 * 15 + 15"),
    ]
    macs = 2 * 7 * (15 * 45 + 15 * 15 + 15 * 3 + 3 * 15) + 2 * 2 * 3 * 7 * 7 * 5
    assert table["macs"] == {
        "macs": macs,
        "flops": 2 * macs,
        "mixer.qkv": "2 * 7 * 15 * 45",
        "mixer.scores": "2 * 3 * 7 * (5 * 7)",
        "mixer.output": "2 * 3 * 7 * (7 * 5)",
        "mixer.fc_out": "2 * 7 * 15 * 15",
        "mlp.fc1": "2 * 7 * 15 * 3",
        "mlp.fc2": "2 * 7 * 3 * 15",
    }


def test_a_first_file_expects_a_training_step_on_request(capsys: Capture, tmp_path: Path) -> None:
    """Check three products of each layer, two of the first; the gradients of 2 x 9 images of 6."""
    file = tmp_path / "first.toml"
    words = ["--model=classifier", "--image-size=6", "--patch-size=2", "--channels=1", "--dim=12"]
    words += ["--depth=2", "--heads=3", "--mlp-ratio=1", "--no-class-token", "--pool=mean"]
    assert checked(capsys, "--write", "--training", "--batch=2", *words, file) == (0, "", "")
    (table,) = tomllib.loads(file.read_text(encoding="utf-8"))["expect"]
    first = 2 * 9 * 4 * 12
    assert table["training_macs"]["training_macs"] == 3 * table["macs"]["macs"] - first
    assert table["training_macs"]["patch_embed.proj"] == "2 * (2 * 9 * 4 * 12)"
    assert table["training_macs"]["blocks.0-1.mlp.fc1"] == "2 * (3 * (2 * 9 * 12 * 12))"
    (case,) = read_cases(file)
    wrong = tuple(slip for it in case.expectations for slip in slips(it))
    assert not any(outcome.holds for outcome in replace(case, expectations=wrong).evaluate())
    code, out, err = checked(capsys, file)
    assert (code, err) == (0, "")
    assert "training_macs torch reconciled" in out
    number = len(case.expectations) + 2 * len(TOOLS) + 1
    assert out.splitlines()[-1] == f"{number} of {number} expectations hold"


def test_a_first_file_of_a_module_that_is_not_trained(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "first.toml"
    words = ["--module=torch.nn:ReLU", "--input=6"]
    assert "no parameter that is trained" in refused(capsys, file, "--write", "--training", *words)
    assert not file.exists()


def test_a_file_is_never_overwritten_unless_forced(capsys: Capture, write: Write) -> None:
    mine = f"{LAYER}max_macs = 99_999 # mine\n"
    file = write(mine)
    said = refused(capsys, file, "--write", "--model=layer")
    assert f"{file} exists" in said
    assert "--force" in said
    assert file.read_text(encoding="utf-8") == mine
    assert checked(capsys, file, "--write", "--force", "--model=layer") == (0, "", "")
    (case,) = read_cases(file)
    assert case.name == "layer with attn"


@pytest.mark.parametrize("words", [["--dim=63"], ["--mixer=lamda"], ["--batch=0"], ["--dims=1"]])
def test_a_slip_writes_nothing(capsys: Capture, write: Write, words: list[str]) -> None:
    file = write("mine")
    refused(capsys, file, "--write", "--force", "--model=layer", *words)
    assert file.read_text(encoding="utf-8") == "mine"
    other = file.with_name("other.toml")
    refused(capsys, other, "--write", "--model=layer", *words)
    assert [it.name for it in file.parent.iterdir()] == [file.name]


def test_a_first_file_where_none_can_be(capsys: Capture, tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "first.toml"
    assert f"cannot write {nowhere}" in refused(capsys, nowhere, "--write")
    assert str(tmp_path) in refused(capsys, tmp_path, "--write", "--force")
