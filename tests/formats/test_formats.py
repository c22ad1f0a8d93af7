"""The formats to the letter, on a report of all that there is to say."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import threads
from reports import report_of

from vitprof.formats import ANY, Format, render
from vitprof.report.base import Report
from vitprof.report.derivation import summed
from vitprof.report.document import (
    EVERY,
    Column,
    Derivation,
    Document,
    Equations,
    Facts,
    Heading,
    Kind,
    Label,
    Marked,
    Records,
    Sentence,
    Step,
    Table,
)
from vitprof.report.document import Row as TableRow
from vitprof.values.amounts import Bytes
from vitprof.values.size import Size

one_thread = threads.one_thread


def test_formats_have_their_methods() -> None:
    report = report_of("params")
    methods = [report.to_markdown, report.to_latex, report.to_html, report.to_csv, report.to_json]
    texts = [render(report, one) for one in ANY if one not in (Format.TABLE, Format.PARQUET)]
    assert [method() for method in methods] == texts
    assert len({*texts}) == 5


@dataclass(frozen=True)
class Example(Report):
    """A report with one of each element, and with the special characters of the formats."""

    command = "example"

    def document(self) -> Document:
        B, N = Size(1_000, "B"), Size(7, "head dim")
        columns = (
            Column("a_layer", part=EVERY, key=True),
            Column("remark", Kind.TEXT),
            Column("formula", Kind.FORMULA),
            Column("numbers", Kind.NUMBERS),
            Column("count", Kind.NUMBER),
        )
        rows = (
            TableRow((Label("b.0-1", "b.0-1", repeat=2), "50% & |more|", None, None, 14_000), True),
            TableRow((Label("fc_1", "b.0-1.fc_1", 1), "<x>", B * (N - 1), B * (N - 1), 6_000)),
            TableRow((Label("act", "b.0-1.act", 1), "", Size(8), Size(8), Marked(8_000))),
        )
        out = (3 * N).named("out")
        steps = (
            Step("fc_1", "a <layer> of 50%", B * (out + 1), (out,)),
            Step("all", "", summed([6_000, -7, 10**9, 10**9]), strong=True),
        )
        return (
            Heading("An *example*", "of #1"),
            Table(columns, rows, (TableRow(("all", *[None] * 3, Bytes(2**30))),), "A_title"),
            Facts({"[1]": "a ~ b^2, {x} --why"}),
            Sentence("It holds.", strong=True),
            Sentence("So far."),
            Equations("y = x W_q < 1\n\n    W  D x D"),
            Heading("Steps", "(of <it>)", level=2),
            Derivation("counts", steps, where=(N,)),
        )

    def records(self) -> Records:
        return Records(("path", "count"), (("b.0-1.fc_1", 6_000), ('a "b", c', None)))

    def data(self) -> dict[str, object]:
        return {"counts": [6_000, None], "name": "µ"}


EXAMPLE: dict[Format, str] = {
    Format.TABLE: """\
An *example*  of #1

A_title
a_layer   remark        formula             numbers            count
────────────────────────────────────────────────────────────────────
b.0-1 ×2  50% & |more|                                        14,000
  fc_1    <x>           B × (head dim - 1)  1000 × (7 - 1)     6,000
  act                                                          8,000

all                                                         1.00 GiB

[1]  a ~ b^2, {x} --why

It holds.
So far.

y = x W_q < 1

    W  D x D

Steps  (of <it>)

where head dim = 7
fc_1: a <layer> of 50%, out = 3 × head dim = 21
    B × (out + 1) = 1,000 × (21 + 1) = 22,000
all
    6,000 − 7 + 1,000,000,000 + 1,000,000,000 = 2,000,005,993
""",
    Format.MARKDOWN: r"""**An \*example\*** of #1

A_title

| a_layer    | remark             | formula            | numbers        |      count |
|:-----------|:-------------------|:-------------------|:---------------|-----------:|
| **b.0-1**  | **50% & \|more\|** |                    |                | **14,000** |
| b.0-1.fc_1 | \<x>               | B × (head dim - 1) | 1000 × (7 - 1) |      6,000 |
| b.0-1.act  |                    |                    |                |  **8,000** |
| all        |                    |                    |                |   1.00 GiB |

- \[1\]: a ~ b^2, {x} --why

**It holds.**

So far.

```text
y = x W_q < 1

    W  D x D
```

## Steps (of \<it>)

where $\mathit{head\ dim} = 7$

**fc_1**: a \<layer> of 50%, $\mathit{out} = 3 \times \mathit{head\ dim} = 21$

$$\text{counts} = B \times (\mathit{out} + 1) = 1{,}000 \times (21 + 1) = 22{,}000$$

**all**

$$\text{counts} = 6{,}000 - 7 + 1{,}000{,}000{,}000 + 1{,}000{,}000{,}000 = 2{,}000{,}005{,}993$$
""",
    Format.LATEX: r"""% needs \usepackage{booktabs}
% needs \usepackage{amsmath}
\paragraph{An *example*} of \#1
\leavevmode\par

A\_title

\noindent\begin{tabular}{llllr}
\toprule
a\_layer & remark & formula & numbers & count \\
\midrule
\textbf{b.0-1 $\times$2} & \textbf{50\% \& $|$more$|$} &  &  & \textbf{14,000} \\
\quad fc\_1 & $<$x$>$ & $B \times (\mathit{head\ dim} - 1)$ & $1{,}000 \times (7 - 1)$ & 6,000 \\
\quad act &  &  &  & \textbf{8,000} \\
\midrule
all &  &  &  & 1.00 GiB \\
\bottomrule
\end{tabular}

\begin{description}
  \item[{[1]}] a \textasciitilde{} b\textasciicircum{}2, \{x\} -{}-why
\end{description}

\textbf{It holds.}

So far.

{\footnotesize\begin{verbatim}
y = x W_q < 1

    W  D x D
\end{verbatim}
}

\subsection*{Steps (of $<$it$>$)}

where $\mathit{head\ dim} = 7$

{\abovedisplayskip=0pt\belowdisplayskip=3pt\sloppy\allowdisplaybreaks
\noindent \textbf{fc\_1}: a $<$layer$>$ of 50\%, $\mathit{out} = 3 \times \mathit{head\ dim} = 21$
\begin{align*}
\text{counts} &= B \times (\mathit{out} + 1) = 1{,}000 \times (21 + 1) = 22{,}000 \\
\intertext{\textbf{all}}
\text{counts} &= 6{,}000 - 7 + 1{,}000{,}000{,}000 + 1{,}000{,}000{,}000 \\
&= 2{,}000{,}005{,}993
\end{align*}}
""",
    Format.CSV: """\
path,count
b.0-1.fc_1,6000
"a ""b"", c",
""",
    Format.JSON: """\
{
  "schema": "vitprof/2",
  "command": "example",
  "counts": [
    6000,
    null
  ],
  "name": "µ"
}
""",
}
LEFT, RIGHT = '<td style="text-align: left">', '<td style="text-align: right">'
EXAMPLE_HTML = f"""\
<div class="vitprof">
<p><b>An *example*</b> of #1</p>
<table><caption>A_title</caption>
<tr>HEADER</tr>
<tr>{LEFT}<b>b.0-1 ×2</b></td>{LEFT}<b>50% &amp; |more|</b></td>{LEFT}</td>{LEFT}</td>\
{RIGHT}<b>14,000</b></td></tr>
<tr>{LEFT}&#8195;fc_1</td>{LEFT}&lt;x&gt;</td>{LEFT}<i>B</i> × (<i>head dim</i> − 1)</td>\
{LEFT}1,000 × (7 − 1)</td>{RIGHT}6,000</td></tr>
<tr>{LEFT}&#8195;act</td>{LEFT}</td>{LEFT}</td>{LEFT}</td>{RIGHT}<b>8,000</b></td></tr>
<tr>{LEFT}all</td>{LEFT}</td>{LEFT}</td>{LEFT}</td>{RIGHT}1.00 GiB</td></tr>
</table>
<p><b>[1]</b>: a ~ b^2, {{x}} --why</p>
<p><b>It holds.</b></p>
<p>So far.</p>
<pre>y = x W_q &lt; 1

    W  D x D</pre>
<h2>Steps (of &lt;it&gt;)</h2>
<p>where <i>head dim</i> = 7</p>
<p><b>fc_1</b>: a &lt;layer&gt; of 50%, <i>out</i> = 3 × <i>head dim</i> = 21<br/>
&#8195;counts = <i>B</i> × (<i>out</i> + 1) = 1,000 × (21 + 1) = 22,000</p>
<p><b>all</b><br/>
&#8195;counts = 6,000 − 7 + 1,000,000,000 + 1,000,000,000 = 2,000,005,993</p>
</div>
"""


@pytest.mark.parametrize("format", EXAMPLE)
def test_example_to_the_letter(format: Format) -> None:
    assert render(Example(), format) == EXAMPLE[format]


def test_example_in_html_to_the_letter() -> None:
    html = Example().to_html()
    assert re.sub("<tr><th.*</th></tr>", "<tr>HEADER</tr>", html) == EXAMPLE_HTML
