"""Models of others by a trace, against steps that were measured on an H100: `tests/data/h100`.

Two rows are held here, to save time; `python tests/helpers/others.py` prints all of them.
"""

from __future__ import annotations

import pytest
from others import predicted, rows


@pytest.mark.parametrize("label", ["deit_small_patch16_224 fp32", "poolformer_s12 bf16"])
def test_a_measured_step(label: str) -> None:
    row, found = rows()[label], predicted(label)
    assert row.holds()
    assert abs(row.error()) <= 0.0004
    assert abs(row.error_of_reserved()) <= 0.03
    for phase in ("forward", "backward"):
        assert abs(found.allocated[phase] / row.allocated[phase] - 1) <= 0.003


def test_every_row_is_read() -> None:
    assert len(rows()) == 14
