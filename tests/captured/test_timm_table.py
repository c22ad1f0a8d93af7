"""timm's own table of GMACs, which fvcore counted, beside what is predicted from captures."""

from __future__ import annotations

import pytest
from timm_table import DRAWN, Row, count, read_rows

ROWS = read_rows()
# Small ones of many kinds: a transformer with talking heads, gates, halos, norms of weights.
SMALL = (
    "convit_tiny",
    "dla46x_c",
    "eca_nfnet_l0",
    "fbnetc_100",
    "gmlp_ti16_224",
    "levit_192",
    "mobilevitv2_150",
    "nf_regnet_b0",
    "pit_ti_224",
    "resmlp_12_224",
)


def test_every_model_agrees_or_has_a_reason() -> None:
    assert len(ROWS) == DRAWN
    assert [row.name for row in ROWS if not row.agrees] == [row.name for row in ROWS if row.why]
    assert sum(row.agrees for row in ROWS) == 97


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.name in SMALL], ids=lambda row: row.name
)
def test_what_fvcore_said(row: Row) -> None:
    assert row.agrees
    assert count(row.name, row.size) == (row.flops, row.parameters)
