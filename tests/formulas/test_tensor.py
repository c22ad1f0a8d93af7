"""Tensors of formulas against torch's: the same methods give the same shapes or errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import for_each

from vitprof.errors import FormulaError, SpecError
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.formulas.work import Work
from vitprof.values.size import Size

B, N, D, h, d = 2, 7, 15, 3, 5


def paper(*shape: int) -> Tensor:
    names = dict(zip((B, N, D, h, d, 1), ("B", "N", "D", "heads", "head dim", ""), strict=True))
    return Tensor(Run(), tuple(Size(size, names.get(size, "")) for size in shape))


def shape_of(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(shape_of, x))
    return tuple(size.value for size in x.shape) if isinstance(x, Tensor) else tuple(x.shape)


WORDS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "reshape": ((B, N, D), lambda x: x.reshape(B, N, h, d)),
    "flatten": ((B, N, h, d), lambda x: x.flatten(2)),
    "flatten some": ((B, N, h, d), lambda x: x.flatten(0, 1)),
    "unflatten": ((B, N, D), lambda x: x.unflatten(-1, (h, d))),
    "permute": ((B, N, h, d), lambda x: x.permute(0, 2, 3, 1)),
    "transpose": ((B, N, D), lambda x: x.transpose(1, 2)),
    "transpose from the end": ((B, N, D), lambda x: x.transpose(0, -1)),
    "mT": ((B, N, D), lambda x: x.mT),
    "unsqueeze": ((B, N), lambda x: x.unsqueeze(1)),
    "unsqueeze the end": ((B, N), lambda x: x.unsqueeze(-1)),
    "squeeze": ((B, 1, N), lambda x: x.squeeze(1)),
    "unbind": ((h, B, N), lambda x: x.unbind(0)),
    "contiguous": ((B, N), lambda x: x.transpose(0, 1).contiguous()),
    "flip": ((B, N), lambda x: x.flip(1)),
    "narrow": ((B, N, D), lambda x: x[:, 1:]),
    "first": ((B, N, D), lambda x: x[:, :1]),
    "select": ((B, N, D), lambda x: x[:, 0]),
    "select and narrow": ((B, N, D), lambda x: x[0, 2:5]),
    "argsort": ((B, N), lambda x: x.argsort(1)),
}


@for_each("word", WORDS)
def test_shapes_are_torchs(word: str) -> None:
    shape, move = WORDS[word]
    assert shape_of(move(paper(*shape))) == shape_of(move(torch.empty(shape)))


def test_split_and_gather_and_expand() -> None:
    x, parts = paper(B, N, D), (Size(4), Size(11))
    assert shape_of(x.split(parts, -1)) == ((B, N, 4), (B, N, 11))
    assert shape_of(x.gather(1, paper(B, 3, D))) == (B, 3, D)
    assert shape_of(paper(1, N).expand(B, 1, N)) == (B, 1, N)
    assert shape_of(paper(4, D).index(paper(N, N))) == (N, N, D)
    assert shape_of(paper(9, 4).unfold(0, Size(3))) == (7, 4, 3)


@pytest.mark.parametrize(
    ("move", "sentence"),
    [
        (lambda x: x.reshape(B, N, h), "cannot reshape to (2, 7, 3): (B 2, N 7, D 15) has another"),
        (lambda x: x.permute(0, 1), "cannot permute to (0, 1): (B 2, N 7, D 15) has 3 axes"),
        (lambda x: x.permute(0, 1, 1), "cannot permute to (0, 1, 1)"),
        (lambda x: x.transpose(1, 3), "cannot transpose 1 and 3: (B 2, N 7, D 15) has 3 axes"),
        (lambda x: x.squeeze(1), "cannot squeeze axis 1: (B 2, N 7, D 15) is longer than 1 there"),
        (lambda x: x.expand(B, N, 30), "cannot expand to (2, 7, 30): (B 2, N 7, D 15) is longer"),
        (lambda x: x.split((Size(4), Size(4)), -1), "cannot split axis 2 into (4, 4)"),
        (lambda x: x[:, 3 : Size(9)], "cannot narrow axis 1 to 9 - 3 6 from 3 on"),
        (lambda x: x.unbind(3), "cannot take axis 3: (B 2, N 7, D 15) has 3 axes"),
        (lambda x: x.run.cat([x, x], 1, Size(N)), "the parts of axis 1 are 14 together, not 7"),
        (lambda x: x.run.cat([x, x.mT], 1, Size(22)), "together along axis 1: another axis"),
        (lambda x: x.run.conv("c", x, Size(4), (Size(3), Size(3))), "c of the model has a kernel"),
        (lambda x: x.run.softmax("s", x, 3), "s of the model has no axis 3 of (B 2, N 7, D 15)"),
    ],
)
def test_what_does_not_fit_is_refused(move: Callable[[Any], object], sentence: str) -> None:
    with pytest.raises(FormulaError) as refused:
        move(paper(B, N, D))
    assert sentence in str(refused.value)


def test_axes_of_one_take_the_others_length_and_name() -> None:
    run = Run()
    x = Tensor(run, (Size(B, "B"), Size(N, "N"), Size(D, "D")))
    gate = Tensor(run, (Size(1), Size(D, "D")))
    for y in (run.multiply("gate", x, gate), run.add("sum", gate, x)):
        assert [size.name for size in y.shape] == ["B", "N", "D"]


def test_an_unknown_kind_of_work_is_refused_where_it_is_written() -> None:
    with pytest.raises(SpecError, match="there is no kind of work 'sofmax'; did you mean softmax"):
        Work("sofmax")
    assert Work("gelu") is Work.GELU
