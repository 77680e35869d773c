"""The look of a report: methods told apart without colour, and pages that fit a phone, a tablet and a wide screen."""

from __future__ import annotations

import html
import itertools
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guide_fixture import SMALL, TASKS, Mixture, write_guide
from report_extras import add_everything
from report_fixture import write_run, write_study

from clo.report.arms import FAMILIES
from clo.report.collect import collect
from clo.report.figures import data_efficiency, scatter
from clo.report.make import make_report
from clo.report.style import WIDTH, Look, legend, looks, new_figure
from clo.report.summary import build

MIXED = replace(SMALL, models=("tasks_s", "tasks_l"), mixtures=(Mixture(), Mixture("guide_joint", tasks=TASKS)))
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
MEASURE = """<script>
const wide = names => [...document.querySelectorAll(names)].map(one => Math.round(one.getBoundingClientRect().width));
addEventListener("load", () => parent.postMessage({
  page: document.documentElement.scrollWidth, columns: wide("section ul, section > p"), figures: wide("figure"),
  images: wide("img"), panes: [...document.querySelectorAll(".pane")].map(one => one.scrollWidth - one.clientWidth),
  stacks: [...document.querySelectorAll(".stack")].map(one => one.scrollWidth - one.parentElement.clientWidth),
  tables: [...document.querySelectorAll(".scroll")].map(one => one.clientWidth), cards: wide(".card"),
}, "*"));
</script></head>"""
FRAMES = """<body><script>
addEventListener("message", event => {
  for (const frame of document.querySelectorAll("iframe")) if (frame.contentWindow === event.source)
    document.body.append(Object.assign(document.createElement("pre"),
      {className: "found", textContent: JSON.stringify([frame.width, event.data])}));
});
</script>"""


def grey(look: Look) -> Any:
    """Pixels of a point, all in black."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.4, 0.4), dpi=100)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.axis("off")
    axes.plot(0, 0, markersize=16, **look.points | {"color": "black"})
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., 0].astype(float)


@pytest.mark.parametrize(
    "labels", [list(FAMILIES.values()), [f"CLO (λ {k})" for k in range(28)]], ids=["methods", "settings"]
)
def test_methods_are_told_apart_without_colour(labels: list[str]) -> None:
    """Printed in black, any two points differ in a fiftieth of their pixels."""
    drawn = [grey(look) for look in looks(labels).values()]
    assert min(np.abs(a - b).mean() / 255 for a, b in itertools.combinations(drawn, 2)) > 0.02


@pytest.mark.parametrize("count", [3, 6, 9, 28])
def test_colours_differ_and_show_on_white(count: int) -> None:
    """No two alike up to six, and none so light (relative luminance) that a white page swallows it."""
    from matplotlib.colors import to_rgb

    found = [np.array(to_rgb(look.color)) for look in looks([f"label {k}" for k in range(count)]).values()]
    assert max(float(rgb @ np.array([0.2126, 0.7152, 0.0722])) for rgb in found) < 0.72
    if count <= 6:
        assert min(np.abs(a - b).sum() for a, b in itertools.combinations(found, 2)) > 0.3


def test_languages_are_panels_not_methods(tmp_path: Path) -> None:
    """One panel per language; the legend names methods alone; large points lie under small ones, all see-through."""
    drawn = scatter(collect("s", write_study(tmp_path / "s", unfinished=False).parent))
    assert drawn is not None
    figure, _ = drawn
    assert [axes.get_title() for axes in figure.axes] == ["ko", "sw"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "SFT, all weights",
        "SFT+DPO, all weights",
        "CLO, attention",
    ]
    for axes, runs in zip(figure.axes, (18, 27), strict=True):
        points: list[Any] = [line for line in axes.lines if line.get_marker() != "None" and len(line.get_xdata()) == 1]
        sizes = [point.get_markersize() for point in points]
        assert len(points) == runs and sizes == sorted(sizes, reverse=True) and min(sizes) >= 6
        assert all(point.get_markerfacecolor()[3] <= 0.5 for point in points)


@pytest.mark.parametrize("count", [3, 12, 28])
def test_a_long_legend_leaves_the_axes_their_height(count: int) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure, grid = new_figure(1, 2, WIDTH, 4.1)
    for k in range(count):
        grid[0, 0].plot([0, k], [k, 0], label=f"CLO, English comparison alone (λ .{k}, NLL per answer), attention")
    legend(figure, grid[0, 0])
    FigureCanvasAgg(figure).draw()
    assert grid[0, 0].get_position().height * figure.get_figheight() > 2.5


def test_no_more_is_claimed_by_a_scatter_than_there_is(tmp_path: Path) -> None:
    """Without a number there is no figure."""
    study = collect("s", write_run(tmp_path / "s", "sw", "clo", 400, 0).parents[1])
    study.runs[0].results["start"] = {"target": {"all": {}}, "en": {"all": {}}}
    assert scatter(study) is None


@pytest.mark.parametrize("sizes", [(400,), (200, 400)], ids=["bars", "curves"])
def test_whiskers_of_two_seeds_are_dotted(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """Korean has two seeds, Swahili three; the caption says what dotted means, and only where there are such."""
    study = collect("s", write_study(tmp_path / "s", sizes=sizes, unfinished=False).parent)
    figure, told = data_efficiency(study, build(study))
    assert told["few"] and figure.get_figwidth() <= 1.05 * WIDTH
    for axes in figure.axes:
        dotted = {bars.get_linestyle()[0][1] is not None for bars in axes.collections}  # type: ignore[attr-defined]
        assert dotted == {axes in (figure.axes[0], figure.axes[2])}
    write_study(tmp_path / "three", {"sw": 3}, sizes, unfinished=False)
    assert "Dotted whiskers" not in make_report("three", tmp_path).read_text()
    assert "Dotted whiskers" in make_report("s", tmp_path).read_text()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict[str, Any]]:
    """(Page, width of the window) -> what a browser makes of it, in pixels."""
    if BROWSER is None:
        pytest.skip("needs a browser: chromium or google-chrome")
    outputs = tmp_path_factory.mktemp("browser")
    report = make_report("two", add_everything(write_study(outputs / "two", {"sw": 2, "ko": 2}, (400,))).parent)
    pages = {
        "report": report,
        **{k: next((report.parent / k).glob(f"*{own}*.html")) for k, own in (("runs", "clo"), ("compare", "CLO"))},
        "guide": make_report("mixed", write_guide(outputs / "mixed", MIXED).parent).with_name("guide.html"),
    }
    frames = FRAMES
    for (name, page), width in itertools.product(pages.items(), (390, 800, 1280)):
        text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8")).replace("</head>", MEASURE)
        frames += f'<iframe width="{width}" height="900" srcdoc="{html.escape(text)}" title="{name}"></iframe>'
    (outputs / "frames.html").write_text(frames.replace("frame.width", "frame.title, frame.width"), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    place = f"file://{outputs}/frames.html"
    done = subprocess.run([*command, f"--user-data-dir={outputs}/profile", place], capture_output=True, timeout=120)
    found = re.findall(r'<pre class="found">(.*?)</pre>', done.stdout.decode())
    told = {(name, int(width)): sizes for name, width, sizes in (json.loads(html.unescape(one)) for one in found)}
    assert len(told) == 12, done.stderr.decode()[-2000:]
    return told


def test_no_page_scrolls_sideways(measured: dict[tuple[str, int], dict[str, Any]]) -> None:
    """What is wide scrolls inside its frame, on a phone, a tablet and a wide screen."""
    assert not {place: found["page"] for place, found in measured.items() if found["page"] > place[1]}


def test_figures_shrink_on_a_phone(measured: dict[tuple[str, int], dict[str, Any]]) -> None:
    """At 390 pixels every figure of two languages is inside its pane, whole; at 1280 two stand side by side."""
    for width, columns in ((390, 1), (800, 1), (1280, 2)):
        found = measured["report", width]
        assert len(found["images"]) == 7 and set(found["panes"]) == {0}
        assert all(image <= figure for image, figure in zip(found["images"], found["figures"], strict=True))
        assert all(0.8 * width / columns < figure <= width / columns for figure in found["figures"])


def test_sentences_in_tables_are_blocks_on_a_phone(measured: dict[tuple[str, int], dict[str, Any]]) -> None:
    """Claims, the paper's numbers and gains: read down, not sideways."""
    found = measured["report", 390]["stacks"]
    assert len(found) == 2 and max(found) <= 0, "claims and gains; no run is of a model of the paper"


def test_a_wide_screen_is_used(measured: dict[tuple[str, int], dict[str, Any]]) -> None:
    """At 1280 pixels prose takes four fifths of the page, tables nearly all, and cards stand side by side."""
    found = measured["report", 1280]
    assert min(found["columns"]) > 0.79 * 1280 and min(found["tables"]) > 0.95 * 1280
    for name in ("report", "runs", "compare", "guide"):
        cards = measured[name, 1280]["cards"]
        assert cards and max(cards) < 640 and min(measured[name, 390]["cards"]) > 0.85 * 390
