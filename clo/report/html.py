"""The page: one file with everything in it, no request to anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from clo.report import answers, comparisons, document, judged
from clo.report import benchmarks_page as marks_page
from clo.report.benchmarks import Marks
from clo.report.collect import Run, Study
from clo.report.comparisons import Comparison
from clo.report.judged import Verdicts
from clo.report.measures import COLUMNS, english_column
from clo.report.pages import Links
from clo.report.summary import Table, TableRow
from clo.report.tables import assumed, shown, spans

NARROW = "\u00a0±\u00a0"
"""Plus-minus that no line break tears from its numbers."""

_HOW_TO_READ = (
    "<b>Seen</b> and <b>unseen</b>: test prompts of kinds that the training rows have, and of kinds they do not have.",
    "<b>Exact</b>: share of answers equal to the reference. <b>Content</b>: share that contain the fact "
    "asked for. <b>chrF</b>: character overlap with the reference, 0 to 100.",
    "<b>Right language</b>: share in the language of the prompt, among the answers where it can be told.",
    "<b>Gain</b> and <b>change</b>: difference to the start model, in points. The two belong together: what "
    "a method wins in the target language, and what that does to its English.",
)


@dataclass(frozen=True)
class Extra:
    """What a study may have besides its runs' scores."""

    marks: Marks = field(default_factory=lambda: Marks([], {}))
    """Benchmarks."""
    verdicts: Sequence[Verdicts] = ()
    """Of judges."""
    broken: Sequence[str] = ()
    """Files of judges that cannot be read."""
    links: Links = field(default_factory=Links)
    """Pages of runs and comparisons."""


def page(
    study: Study,
    table: Table,
    figures: Path,
    captions: Mapping[str, str],
    compared: Sequence[Comparison] = (),
    extra: Extra | None = None,
) -> str:
    """The whole report.

    Args:
        study: the runs.
        table: their summary.
        figures: folder of the PNG files.
        captions: figure name -> caption, in the order of the page.
        compared: the study's comparisons with its baseline.
        extra: benchmarks, verdicts of judges, and links to further pages.
    """
    extra = extra or Extra()
    drawn, marked = "", ""
    for name, caption in captions.items():
        figure = _figure(figures / f"{name}.png", caption)
        drawn, marked = (drawn, marked + figure) if name.startswith("benchmarks_") else (drawn + figure, marked)
    parts = [
        ("read", "How to read", _list(_HOW_TO_READ)),
        ("table", "Target gain and English change", _table(table)),
        ("compared", "More than chance?", comparisons.section(compared, extra.links.comparisons)),
        ("benchmarks", "Benchmarks", marked + marks_page.section(study, extra.marks)),
        ("judged", "Judged win rates", judged.section(extra.verdicts, extra.broken, extra.links.runs)),
        ("figures", "Figures", drawn),
        ("answers", "Answers side by side", answers.section(study)),
        ("missing", "Runs not in the table", _unfinished(study)),
        ("assumed", "Assumed values", _assumed(study)),
        ("runs", "Runs", _runs(study, extra.links.runs)),
    ]
    top = f"<h1>Study {escape(study.name)}</h1>\n{_facts(study, table)}"
    return document.document(f"{study.name}: report", f"{top}\n{document.sections(parts)}")


def _list(items: tuple[str, ...] | list[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>" if items else ""


def _facts(study: Study, table: Table) -> str:
    """What was run, then the numbers at each language's largest size; no judgement."""
    sizes = sorted({run.size for run in study.runs})
    size = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    bases = sorted({" on ".join(filter(None, run.base)) for run in study.runs})
    states = [unfinished.state for unfinished in study.unfinished]
    rest = "".join(f", {states.count(state)} {state}" for state in dict.fromkeys(states))
    text = (
        f"{len(study.runs)} finished runs{rest}: {len(study.labels)} methods or settings, "
        f"languages {', '.join(study.langs)}, {size} training items, {'; '.join(bases)}. {table.notes[0]}"
    )
    lines = [_fact(study, table, lang) for lang in study.langs] if len(study.labels) <= 4 else []
    return f"<p>{escape(text)}</p>{_list(lines)}"


def _fact(study: Study, table: Table, lang: str) -> str:
    rows = [row for row in table.rows if row.lang == lang]
    largest = max(row.size for row in rows if row.size is not None)
    told = [row for row in rows if row.size in (None, largest)]
    columns = {column.key: column for column in COLUMNS}
    parts = []
    for words, column in (("target chrF", columns["target_chrf"]), ("English", english_column(study))):
        cells = [(row.label, shown(row.cells.get(column.key), column)) for row in told]
        values = ", ".join(f"{label} {NARROW.join(filter(None, cell))}" for label, cell in cells)
        head = words if words.startswith("target") else f"{words} {column.head}"
        parts.append(f"{head}: {values}")
    name = f"{rows[0].lang_name} ({lang}), {largest:,} items"
    return f"{escape(name)}: {escape('; '.join(parts))}."


def _table(table: Table) -> str:
    groups = "".join(f'<th class="side" colspan="{n}">{title}</th>' for title, n in spans(table))
    heads = "".join(f'<th class="measure">{escape(column.head)}</th>' for column in table.columns)
    lines, last = [], None
    for index, row in enumerate(table.rows):
        if (row.lang, row.size) != last:
            last = (row.lang, row.size)
            lines.append(_group_line(row, 2 + len(table.columns)))
        lines.append(_line(table, index, row))
    notes = [*map(escape, table.notes)]
    if table.best:
        notes.append("<b>Bold</b>: highest mean of its language and size, whether or not intervals overlap.")
    files = " ".join(f'<a href="table.{ending}">{ending}</a>' for ending in ("csv", "md", "tex"))
    return (
        '<div class="scroll" tabindex="0"><table class="numbers"><thead>'
        f"<tr><th></th><th></th>{groups}</tr>"
        f'<tr><th class="left">method</th><th>runs</th>{heads}</tr></thead>'
        f'<tbody>{"".join(lines)}</tbody></table></div>{_list(notes)}<p class="soft">As a file: {files}</p>'
    )


def _group_line(row: TableRow, columns: int) -> str:
    size = "before training" if row.size is None else f"{row.size:,} training items"
    text = escape(f"{row.lang_name} ({row.lang}), {size}")
    return f'<tr class="group"><th colspan="{columns}"><span>{text}</span></th></tr>'


def _line(table: Table, index: int, row: TableRow) -> str:
    cells = []
    for column in table.columns:
        mean, half = shown(row.cells.get(column.key), column)
        mean = f"<b>{mean}</b>" if (index, column.key) in table.best else mean
        cells.append(f"<td>{mean}" + (f' <span class="half">± {half}</span>' if half else "") + "</td>")
    kind, runs = (' class="start"', "") if row.size is None else ("", str(row.n))
    return f'<tr{kind}><th scope="row">{escape(row.label)}</th><td>{runs}</td>{"".join(cells)}</tr>'


def _figure(path: Path, caption: str) -> str:
    content = path.read_bytes()
    data, text = base64.b64encode(content).decode("ascii"), escape(caption)
    # A PNG's width stands at bytes 16 to 20; drawn at 160 dots per inch, it is shown at 96.
    width = round(int.from_bytes(content[16:20], "big") * 96 / 160)
    return (
        f'<figure><div class="pane"><img src="data:image/png;base64,{data}" width="{width}" alt="{text}"></div>'
        f'<figcaption>{text} <a href="{path.stem}.svg">svg</a></figcaption></figure>'
    )


def _unfinished(study: Study) -> str:
    told = [(u.folder.name, f"{u.state}: {u.reason}") for u in study.unfinished]
    return _list([f"<code>{escape(name)}</code> {escape(reason)}" for name, reason in told])


def _assumed(study: Study) -> str:
    lines = [f"<code>{escape(line)}</code>" for line in assumed(study)]
    return f"<p>The paper does not give these; every run records them.</p>{_list(lines)}" if lines else ""


def _runs(study: Study, links: Mapping[str, str]) -> str:
    versions: dict[str, set[str]] = {}
    for run in study.runs:
        found = run.results.get("versions")
        for name, version in found.items() if isinstance(found, dict) else ():
            versions.setdefault(str(name), set()).add(str(version))
    told = ", ".join(f"{name} {' and '.join(sorted(v))}" for name, v in sorted(versions.items()))
    heads = "".join(f"<th>{head}</th>" for head in ("steps", "seconds", "trainable", "parameters"))
    lines = "".join(_run_line(run, links.get(run.folder.name, "")) for run in study.runs)
    return (
        (f"<p>Versions: {escape(told)}.</p>" if told else "")
        + f'<div class="scroll" tabindex="0"><table><thead><tr><th class="left">folder</th>{heads}'
        + f'<th class="left">configuration</th></tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _run_line(run: Run, link: str) -> str:
    train = run.results.get("train")
    train = train if isinstance(train, dict) else {}
    cells = ""
    for key in ("steps", "seconds", "trainable", "parameters"):
        value = train.get(key)
        text = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else ""
        cells += f"<td>{text}</td>"
    name = f"<code>{escape(run.folder.name)}</code>"
    name = f'<a href="{link}">{name}</a>' if link else name
    return (
        f'<tr><td class="left">{name}</td>{cells}'
        f'<td class="left"><a href="../{document.address(run.folder.name)}/config.yaml">config.yaml</a></td></tr>'
    )
