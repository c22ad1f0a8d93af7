"""A report: everything that any format shows, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitprof.errors import listing
from vitprof.options import Value
from vitprof.reconcile import Difference
from vitprof.report.to_csv import to_csv
from vitprof.report.to_json import to_json

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions, RenderResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer of a report.

    Attributes:
        path: the torch submodule's path, `blocks.0-11.norm1` where equal ones are folded.
        name: what the row is called below its parent.
        level: how deep below the model it lies, from 1.
        type: class of the torch module.
        repeat: how many equal layers the row stands for.
        formula: the closed form, with names; empty for a row that sums others.
        numbers: the same with numbers put in.
        each: the count of one of them, the first.
        count: the count of all of them.
        counters: what each tool says of all of them; None where it says nothing.
        leaf: whether no other row lies below; the counts of the leaves add up to the
            total.
    """

    path: str
    name: str
    level: int
    type: str
    repeat: int
    formula: str
    numbers: str
    each: int
    count: int
    counters: Mapping[str, int | None]
    leaf: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a command found out, with the conditions under which it holds.

    Attributes:
        command: `params` or `macs`.
        spec: model, mixer, and every size.
        conditions: dtype, mode and what else the readings depend on.
        versions: of every package that had a part in it.
        convention: what is counted, in a sentence.
        totals: the formulas' totals by name.
        headline: the name of the total that the rows add up to.
        not_counted: elements of work that is in no total, by kind.
        fft_flops: what the Fourier transforms among it take by the usual figure.
        counters: each tool's total.
        differences: why each tool's total is what it is.
        unavailable: why a tool gives none.
        notes: what a tool itself says that it left out, by tool.
        tree: rows and the rows that sum them, parents first.
    """

    command: str
    spec: Mapping[str, Value]
    conditions: Mapping[str, str]
    versions: Mapping[str, str]
    convention: str
    totals: Mapping[str, int]
    headline: str
    not_counted: Mapping[str, int]
    fft_flops: int
    counters: Mapping[str, int]
    differences: Mapping[str, Difference]
    unavailable: Mapping[str, str]
    notes: Mapping[str, str]
    tree: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The leaves; their counts add up to `total`."""
        return tuple(row for row in self.tree if row.leaf)

    @property
    def total(self) -> int:
        """The total that the rows add up to: all parameters, or all MACs."""
        return self.totals[self.headline]

    @property
    def explained(self) -> bool:
        """Whether every tool's reading follows to the last unit from its convention."""
        return all(difference.explained for difference in self.differences.values())

    @property
    def complaint(self) -> str:
        """Which tools' readings are not explained; empty where all are."""
        tools = [tool for tool, found in self.differences.items() if not found.explained]
        if not tools:
            return ""
        return f"the reading of {listing(tools, 'and')} is not explained; --why lists the causes"

    def why(self) -> Explanation:
        """Every cause of every difference, path by path, to be printed."""
        return Explanation(self)

    def to_csv(self) -> str:
        """The rows as CSV."""
        return to_csv(self)

    def to_json(self) -> str:
        """The whole report as JSON."""
        return to_json(self)

    def to_markdown(self) -> str:
        """The whole report as Markdown."""
        from vitprof.report.to_markup import to_markdown

        return to_markdown(self)

    def to_frame(self) -> DataFrame:
        """The rows as a pandas DataFrame, equal to what the CSV holds."""
        from vitprof.report.to_frame import to_frame

        return to_frame(self)

    def _repr_html_(self) -> str:
        from vitprof.report.to_markup import to_html

        return to_html(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from vitprof.report.to_table import to_table

        yield from to_table(self, console, options)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The causes of a report's differences, path by path."""

    report: Report

    def to_markdown(self) -> str:
        """The causes as Markdown."""
        from vitprof.report.to_markup import why_to_markdown

        return why_to_markdown(self.report)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from vitprof.report.to_table import why_to_table

        yield from why_to_table(self.report)
