"""Memory of a step and the largest batch in a check file, as `memory` and `batch-size` find them.

Nothing of a model of vitprof's own runs: without torch, the figures are those of the formulas.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import check_files
import pytest
from check_files import Patch, Write, checked, refused
from commands import Capture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vitprof
from vitprof.cli import run
from vitprof.errors import SpecError
from vitprof.expectations.lines import CheckFileError

nowhere_in_particular = check_files.nowhere_in_particular
write = check_files.write

SIZES = 'model = "layer", tokens = 7, dim = 15, heads = 3'
PARAMS = 16 * 45 + 16 * 15 + 16 * 60 + 61 * 15 + 2 * 2 * 15


def case(spec: str, *expected: str) -> str:
    return "\n".join(["[[expect]]", f"spec = {{ {SIZES}{spec} }}", *expected, ""])


def found(capsys: Capture, write: Write, text: str) -> dict[str, int]:
    """Return the values found, by what they are of."""
    _, out, _ = checked(capsys, write(text), "--format=json")
    outcomes = [one for one_case in json.loads(out)["cases"] for one in one_case["outcomes"]]
    return {one["what"]: one["found"] for one in outcomes}


def test_the_memory_is_that_of_the_command(capsys: Capture, write: Write) -> None:
    words = ', batch = 9, dtype = "bf16", autocast = true, optimizer = "lamb", kernel = "loop"'
    names = ("peak", "forward", "backward", "optimizer")
    exact = ["[expect.memory]", *(f"{name} = 1" for name in names)]
    step: dict[str, Any] = {
        "batch": 9,
        "dtype": "bf16",
        "autocast": True,
        "optimizer": "lamb",
        "kernel": "loop",
    }
    report = vitprof.memory("layer", trace=False, tokens=7, dim=15, heads=3, **step)
    phases = {name: report.phases[name].bytes for name in names[1:]}
    assert found(capsys, write, case(words, *exact)) == {
        f"memory {name}": size for name, size in {"peak": report.peak.bytes, **phases}.items()
    }


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "batch": st.integers(1, 9),
            "dtype": st.sampled_from(["fp32", "bf16", "fp16"]),
            "optimizer": st.sampled_from(["sgd", "momentum", "adam", "adamw", "lamb"]),
            "kernel": st.sampled_from(["foreach", "fused", "loop"]),
            "device": st.sampled_from(["cuda", "cpu"]),
            "gpu": st.sampled_from(["h100", "rtx3090"]),
            **{name: st.booleans() for name in ("autocast", "checkpoint", "clip", "inference")},
        },
    )
)
def test_any_step_is_that_of_the_command(write: Write, words: dict[str, Any]) -> None:
    """A file is refused the words that `vitprof memory` refuses."""
    spec = "".join(f", {name} = {json.dumps(value)}" for name, value in words.items())
    try:
        report = vitprof.memory("layer", trace=False, tokens=7, dim=15, heads=3, **words)
    except SpecError as error:
        with pytest.raises(CheckFileError, match=re.escape(str(error))):
            vitprof.check(write(case(spec, "max_memory = 1")))
        return
    ((_, outcome),) = vitprof.check(write(case(spec, "max_memory = 1"))).outcomes
    assert outcome.found == (report.peak.bytes if report.gpu is None else report.gpu.total)


def test_adam_holds_its_states_at_least(capsys: Capture, write: Write) -> None:
    """Weights, gradients and two states of Adam, of four bytes each, are there in its step."""
    most = found(capsys, write, case("", "[expect.memory]", "optimizer = 1"))["memory optimizer"]
    assert most >= 4 * 4 * PARAMS


def test_on_a_gpu_the_memory_is_all_that_the_process_takes(capsys: Capture, write: Write) -> None:
    text = case(
        ', batch = 9, gpu = "h100", torch = "2.11"',
        *("max_memory = 1", "[expect.memory]", "reserved = 1", "total = 1", "peak = 1"),
    )
    report = vitprof.memory(
        "layer", trace=False, tokens=7, dim=15, heads=3, batch=9, gpu="h100", torch="2.11"
    )
    assert report.gpu is not None
    assert found(capsys, write, text) == {
        "memory reserved": report.gpu.reserved,
        "memory total": report.gpu.total,
        "memory peak": report.peak.bytes,
    }


@pytest.mark.parametrize("place", ['gpu = "h100"', 'memory = "64MiB"'])
@pytest.mark.parametrize("step", ["", ", inference = true", ', device = "cpu"'])
def test_the_batch_is_that_of_the_command(
    capsys: Capture, write: Write, place: str, step: str
) -> None:
    if "cpu" in step and "gpu" in place:
        pytest.skip("a step of the CPU has no GPU")
    spec = f"{place}{step}".replace("true", "True")
    options = eval(f"dict({spec})") | {"tokens": 7, "dim": 15, "heads": 3}
    if options.pop("device", "cuda") == "cpu":
        options["workload"] = vitprof.Workload(device="cpu")
    largest = vitprof.batch_size("layer", trace=False, **options).batch
    assert found(capsys, write, case(f", {place}{step}", "min_batch = 1")) == {
        "batch largest": largest
    }


def test_bounds_hold_up_to_what_is_there(capsys: Capture, write: Write) -> None:
    spec = ', memory = "64MiB"'
    values = found(capsys, write, case(spec, "min_batch = 1", "max_memory = 1"))
    peak, largest = values["memory peak"], values["batch largest"]
    for more, code in ((1, 1), (0, 0), (-1, 0)):
        text = case(spec, f"min_batch = {largest + more}", f"max_memory = {peak - more}")
        assert checked(capsys, write(text))[0] == code
    file = write(case(spec, f"max_memory = {peak - 1}", f"min_batch = {largest + 1}"))
    _, out, _ = checked(capsys, file, "--summary")
    assert out.splitlines() == [
        f"{file}:3: memory peak: expected <= {peak - 1:,} bytes, found {peak:,} bytes (+1 bytes)",
        f"{file}:4: batch largest: expected >= {largest + 1:,} images, found {largest:,} images "
        "(−1)",
        "0 of 2 expectations hold, 2 do not",
    ]


def test_memory_over_a_bound_is_said_in_its_unit(capsys: Capture, write: Write) -> None:
    spec = ', batch = 100000, gpu = "h100"'
    total = found(capsys, write, case(spec, "max_memory = 1"))["memory total"]
    file = write(case(spec, 'max_memory = "1GiB"', "[expect.memory]", "total = 1"))
    _, out, _ = checked(capsys, file, "--summary")
    assert total > 1024**3
    assert out.splitlines()[:2] == [
        f"{file}:5: memory total: expected 1 bytes, found {total:,} bytes (+{total - 1:,})",
        f"{file}:3: memory total: expected <= 1.00 GiB, found {total / 1024**3:.2f} GiB "
        f"(+{total - 1024**3:,} bytes)",
    ]


def test_nothing_of_torch_is_needed(capsys: Capture, write: Write, monkeypatch: Patch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    file = write(case(', gpu = "h100"', 'max_memory = "79GiB"', "min_batch = 64"))
    assert checked(capsys, file, "--summary") == (0, "2 of 2 expectations hold\n", "")


def test_a_module_is_traced(capsys: Capture, write: Write) -> None:
    """A step on a linear layer: 7 features to 3, whose own dtype is that of the step."""
    spec = 'module = "torch.nn:Linear", arg = { in_features = 7, out_features = 3 }, input = "7"'
    text = f'[[expect]]\nspec = {{ {spec}, batch = 5, memory = "1MiB" }}\n'
    file = write(f"{text}min_batch = 5\n[expect.memory]\npeak = 1\nforward = 1\n")
    _, out, _ = checked(capsys, file, "--trust", "--format=json")
    values = {one["what"]: one["found"] for one in json.loads(out)["cases"][0]["outcomes"]}
    args = {"in_features": 7, "out_features": 3}
    report = vitprof.memory(module="torch.nn:Linear", arg=args, input="7", batch=5)
    assert values["memory peak"] == report.peak.bytes
    assert values["memory forward"] == report.phases["forward"].bytes
    assert values["batch largest"] >= 5


def test_a_step_has_the_dtype_of_a_module(
    capsys: Capture, write: Write, monkeypatch: Patch
) -> None:
    code = "import torch\n\ndef net():\n    return torch.nn.Linear(7, 3, dtype=torch.bfloat16)\n"
    file = write('[[expect]]\nspec = { module = "net.py:net", input = "7" }\nmax_memory = 1\n')
    file.with_name("net.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(file.parent)
    _, out, _ = checked(capsys, file, "--trust", "--format=json")
    (outcome,) = json.loads(out)["cases"][0]["outcomes"]
    assert outcome["found"] == vitprof.memory(module="net.py:net", input="7").peak.bytes
    assert (
        outcome["found"] != vitprof.memory(module="net.py:net", input="7", dtype="fp32").peak.bytes
    )


def test_an_exact_count_has_all_its_digits(capsys: Capture, write: Write) -> None:
    for table, key in (("params", "all"), ("macs", "macs"), ("memory", "peak")):
        said = refused(capsys, write(case("", f"[expect.{table}]", f'{key} = "25G"')))
        assert "line 4: '25G' is not a derivation; give whole numbers" in said


def test_bounds_have_units(capsys: Capture, write: Write) -> None:
    expected = 'max_params = "2.955k"', 'max_macs = "20.37k"', 'max_memory = "24 GiB"'
    assert PARAMS == 2_895
    file = write(case("", *expected))
    assert checked(capsys, file, "--summary") == (0, "3 of 3 expectations hold\n", "")
    file = write(case("", 'max_params = "2.894k"'))
    code, out, _ = checked(capsys, file, "--summary")
    assert (code, out.splitlines()[0]) == (
        1,
        f"{file}:3: params all: expected <= 2,894, found 2,895 (+1)",
    )


REFUSED = [
    # words of the spec, what is expected, the line that is wrong, and what is said of it
    ("", "min_batch = 64", 3, "min_batch is of a memory; give gpu or memory in spec"),
    (', gpu = "h100"', "min_batch = 0", 3, "min batch 0 is out of range; give a whole number"),
    (', gpu = "h100"', 'min_batch = "1k"', 3, "min batch 1k is not a whole number"),
    (', gpu = "h101"', "min_batch = 1", 2, "'h101'.*did you mean h100"),
    (', gpu = "h100", memory = "1GiB"', "min_batch = 1", 2, "memory and gpu both name the memory"),
    (', gpu = "h100", device = "cpu"', "min_batch = 1", 2, "the step of the CPU takes no memory"),
    (', gpu = "h100", torch = "1.0"', "min_batch = 1", 2, "torch"),
    (', torch = "2.11"', "max_memory = '1GiB'", 2, "torch has no effect here; add gpu, or leave"),
    (', gpu = "h100", torch = 2.11', "min_batch = 1", 2, "torch is given in quotes, not as 2.11"),
    (", memory = 24", "min_batch = 1", 2, "memory is given in quotes, not as 24"),
    (', memory = "24"', "min_batch = 1", 2, "memory '24' is 24 bytes without a unit"),
    (', memory = "1GiB"', "max_memory = '1GiB'", 2, "memory has no effect here; add min_batch"),
    (', dtype = "bf16"', "max_params = 1", 2, "dtype has no effect here; add memory, max_memory"),
    (', gpu = "h100"', "max_params = 1", 2, "gpu has no effect here; add memory, max_memory or"),
    (', dtype = "bf61"', "max_memory = '1GiB'", 2, "dtype can be fp32, bf16 or fp16, not 'bf61'"),
    (", autocast = true", "max_memory = '1GiB'", 2, "autocast has no effect with dtype fp32"),
    ("", "max_memory = '24'", 3, "max_memory '24' is 24 bytes without a unit; give one, such as"),
    ("", "max_memory = 1.5", 3, r"1\.5 is not a count; .* such as 24GiB"),
    ("", "memory = 3", 3, "memory is a table of names and values, not 3"),
    ("", "[expect.memory]\npeek = 1", 4, "no total in the memory of this step 'peek'.*peak"),
    ("", "[expect.memory]\ntotal = 1", 4, "no total in the memory of this step 'total'"),
    (", inference = true", "[expect.memory]\nbackward = 1", 4, "'backward'; known are peak and fo"),
    ("", "[expect.memory]\npeak = '1 GiB'", 4, "'1 GiB' is not a derivation"),
    ("", "max_memry = 1", 3, "no key 'max_memry'.*did you mean max_memory"),
]


@pytest.mark.parametrize(("spec", "expected", "line", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_step_that_is_none(
    capsys: Capture, write: Write, spec: str, expected: str, line: int, sentence: str
) -> None:
    file = write(case(spec, *expected.splitlines()))
    said = refused(capsys, file)
    assert said.startswith(f"vitprof: {file}, line {line}: ")
    assert re.search(sentence, said), said


def test_a_comparison_takes_the_models(capsys: Capture, write: Write) -> None:
    cases = (case(', gpu = "h100"', f"name = '{name}'", "min_batch = 64") for name in "ab")
    assert run(["compare", f"--specs={write(''.join(cases))}", "--format=csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
