"""The report's page in a real browser: what it shows, how it is used, and that nothing in it can attack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from scar_cli.report.page import render
from scar_cli.runs.model import Run
from scar_cli.watch.web import EVENTS, serving
from tests.axe_core import SCRIPT
from tests.chromium import CHROMIUM, Page, opened
from tests.report_documents import document_of

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(CHROMIUM is None, reason="a browser is needed (see tests/tools.sh): chromium"),
]
FEWER, FEW, MANY = 20, 200, 7000
READY = "document.querySelector('#follow .empty')"
HOSTILE = [
    "<img src=x onerror=attacked()>.jpg",
    "</script><script>attacked()</script>.jpg",
    "'\"><svg onload=attacked()>.jpg",
    "javascript:attacked()//.jpg",
    "${attacked()}`$(touch x)`{{7*7}}.jpg",
    "\u202egpj.exe",
    "line\nbreak\ttab\x1b[31m.jpg",
    "x" * 900 + ".jpg",
]


@cache
def content(inputs: int) -> str:
    return json.dumps(document_of(inputs, title="photos"))


def document(inputs: int) -> dict[str, Any]:
    return dict(json.loads(content(inputs)))


def hostile(run: Run) -> Run:
    number = int(re.sub(r"\D", "", run.subject.rpartition("/")[2]) or 0)
    name = HOSTILE[number // 50 % len(HOSTILE)] if number % 50 == 7 else HOSTILE[number % len(HOSTILE)]
    attack = f"{name} <script>attacked()</script>"
    error = f"Cannot read {attack}" if run.status == "failed" else run.error
    last_lines = f"{attack}\n<img src=x onerror=attacked()>\n" if run.status == "failed" else run.last_lines
    folder = run.subject.rpartition("/")[0]
    outputs = tuple(f"{uri.rpartition('/')[0]}/{name}" for uri in run.outputs)
    return run._replace(
        subject=f"{folder}/{number} {name}", error=error, last_lines=last_lines, outputs=outputs
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(autouse=True)
def desktop(page: Page) -> None:
    page.size(1400, 900)
    page.media(prefers_color_scheme="light", prefers_reduced_motion="reduce")


def show(page: Page, folder: Path, report: dict[str, Any]) -> str:
    """Open the report; returns its URL."""
    file = folder / "report.html"
    file.write_text(render(report), encoding="utf-8")
    page.open(file.as_uri())
    page.wait_for(READY)
    return file.as_uri()


def text(page: Page, selector: str) -> str:
    return str(page.run(f"document.querySelector({json.dumps(selector)}).textContent"))


def texts(page: Page, selector: str) -> list[str]:
    found: list[str] = page.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(one => one.textContent)"
    )
    return found


def settled(page: Page) -> None:
    """Wait until what was asked for is drawn."""
    page.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def readout(page: Page) -> str:
    settled(page)
    return text(page, "#timeline-readout")


def started(page: Page) -> int:
    """Number of runs that started in the view of the timeline."""
    found = re.search(r": ([\d,]+) runs? started", readout(page))
    assert found is not None
    return int(found[1].replace(",", ""))


def middle(page: Page, selector: str, share: float = 0.5) -> tuple[float, float]:
    left, top, width, height = page.run(
        f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
        " const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })"
        f"(document.querySelector({json.dumps(selector)}))"
    )
    return left + width * share, top + height / 2


def test_page_shows_the_numbers_of_the_document_and_requests_nothing(page: Page, tmp_path: Path) -> None:
    report = document(FEW)
    url = show(page, tmp_path, report)
    assert text(page, "h1") == "photos"
    assert "1 file failed" in text(page, "#head .lede")
    figures = texts(page, "#overview dd.value")
    assert figures[:3] == ["200", f"{report['totals']['runs']:,}", "1"]
    picture = texts(page, "#workflow svg text")
    assert "200 files" in picture
    assert "1 failed" in picture
    assert picture.count("199 files") == 5
    reasons = texts(page, "#failures h3")
    assert reasons == [one["reason"] for one in report["failures"]]
    assert text(page, "#failures .command code").startswith("scar log -n resize --errors --since ")
    assert "scar retry -n resize" in texts(page, "#failures .command code")
    assert "a line of output" in text(page, "#failures .log")
    names = ["resize", "examine", "index"]
    assert texts(page, "#functions tbody th") == names
    assert "Lambda, then Batch" in text(page, "#function-1")
    assert len(texts(page, "#slowest tbody tr")) == 50
    assert texts(page, "#cost tbody th")[:3] == ["examine", "index", "resize"]
    assert page.console == []
    assert page.requests == [url]


def test_what_comes_from_logs_is_text_whatever_it_contains(page: Page, tmp_path: Path) -> None:
    report = json.loads(json.dumps(document_of(FEW, title=HOSTILE[1], changed=hostile)))
    for one in report["functions"]:
        one["name"] = f"{one['name']} {HOSTILE[0]}"
        one["advice"] = [HOSTILE[1]]
    for node in report["workflow"]["nodes"]:
        node["lines"].append(HOSTILE[2])
    report["notes"] = [HOSTILE[0]]
    url = show(page, tmp_path, report)
    page.run("window.attacked = () => { window.isAttacked = true; }")
    page.run("for (const one of document.querySelectorAll('details')) one.open = true; null")
    page.run("document.getElementById('find').focus()")
    page.type("onerror=attacked")
    page.wait_for("document.querySelector('.hits button')")
    page.press("Enter")
    page.wait_for("document.querySelector('.journey')")
    settled(page)
    assert HOSTILE[0] in text(page, "#follow .name")
    assert "<script>attacked()</script>" in text(page, "#failures .log")
    tags = page.run("[...new Set([...document.body.querySelectorAll('*')].map(one => one.localName))]")
    assert not {"img", "iframe", "object", "embed", "form", "base", "link", "style"} & set(tags)
    assert page.run("document.scripts.length") == 1, "the page's own"
    handlers = (
        "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => /^on/.test(a.name)))"
    )
    assert page.run(f"{handlers}.length") == 0
    assert page.run("[...document.links].every(one => one.getAttribute('href').startsWith('#'))")
    assert page.run("Boolean(window.isAttacked)") is False
    assert re.search("[\u202e\x1b]", page.run("document.body.textContent")) is None
    assert page.run("document.documentElement.scrollWidth") <= 1400
    assert all("\n" not in one for one in texts(page, ".command code"))
    assert page.requests == [url]
    assert page.console == []


def test_browser_refuses_scripts_markup_and_requests_in_the_page(page: Page, tmp_path: Path) -> None:
    """The second line of defense, if a script of the page were wrong."""
    url = show(page, tmp_path, document(FEW))
    assert page.run(
        "(() => { try { document.body.innerHTML = '<p>'; } catch (e) { return e.name; } })()"
    ) == ("TypeError")
    page.run(
        "(() => { const one = document.createElement('img'); one.src = 'http://127.0.0.1:9/x';"
        " document.body.append(one); })()"
    )
    refused = "fetch('http://127.0.0.1:9/x').then(() => 'answered', () => 'refused')"
    assert page.run(refused) == "refused"
    assert page.requests == [url]
    assert sum("Content Security Policy" in one for one in page.console) >= 2


def test_timeline_zooms_with_wheel_drag_and_keys(page: Page, tmp_path: Path) -> None:
    report = document(FEW)
    show(page, tmp_path, report)
    everything, whole = started(page), readout(page)
    assert everything == report["totals"]["runs"]
    # The wheel scrolls the page until the timeline is selected.
    at = middle(page, ".lanes", 0.1)
    page.mouse("mouseWheel", *at, deltaX=0, deltaY=-300)
    assert started(page) == everything
    page.run("document.querySelector('.lanes').focus({preventScroll: true})")
    at = middle(page, ".lanes", 0.1)
    for _ in range(3):
        page.mouse("mouseWheel", *at, deltaX=0, deltaY=-300)
    zoomed = started(page)
    assert 0 < zoomed < everything
    for key in ("ArrowRight", "ArrowLeft", "+", "-"):
        before = readout(page)
        page.press(key)
        assert readout(page) != before, key
    page.press("Home")
    assert readout(page) == whole
    page.drag(middle(page, ".lanes", 0.02), middle(page, ".lanes", 0.2))
    assert 0 < started(page) < everything
    page.run("document.querySelector('[aria-label=\"Show all\"]').click()")
    assert readout(page) == whole
    page.drag(middle(page, ".strip", 0.02), middle(page, ".strip", 0.2))
    assert 0 < started(page) < everything
    assert page.console == []


def test_many_runs_are_areas_and_close_ones_are_bars_that_lead_to_their_file(
    page: Page, tmp_path: Path
) -> None:
    report = document(MANY)
    show(page, tmp_path, report)
    mode = "document.querySelector('.lanes').dataset.mode"
    assert started(page) == report["totals"]["runs"] > 20_000
    assert page.run(mode) == "areas"
    page.run("document.querySelector('.lanes').focus()")
    page.run("document.querySelector('[data-fold=timeline]').open = true")
    page.wait_for("document.querySelector('[data-fold=timeline] tbody tr')")
    rows = page.run(
        "[...document.querySelectorAll('[data-fold=timeline] tbody tr')]"
        ".map(row => [...row.cells].map(cell => Number(cell.textContent.replaceAll(',', ''))))"
    )
    assert sum(row[2] for row in rows) == pytest.approx(report["totals"]["runs"], abs=36)
    at = middle(page, ".lanes", 0.3)
    for _ in range(9):
        page.mouse("mouseWheel", *at, deltaX=0, deltaY=-400)
    page.wait_for(f"{mode} === 'bars'")
    page.wait_for("document.querySelectorAll('[data-fold=timeline] table').length === 2")
    assert "photo-" in texts(page, "[data-fold=timeline] table")[1]
    # One of the bars is at one of these places.
    left, top, width, height = page.run(
        "(r => [r.x, r.y, r.width, r.height])(document.querySelector('.lanes').getBoundingClientRect())"
    )
    for share in (0.1, 0.15, 0.2, 0.45, 0.5, 0.8):
        place = (left + width / 2, top + height * share)
        page.mouse("mouseMoved", *place)
        if page.run("document.querySelector('.lanes').style.cursor") == "pointer":
            break
    page.wait_for("!document.querySelector('.tip').hidden")
    page.mouse("mousePressed", *place, button="left", clickCount=1)
    page.mouse("mouseReleased", *place, button="left", clickCount=1)
    page.wait_for("document.querySelector('.journey')")
    assert "photo-" in text(page, "#follow .strong")
    assert page.console == []


def test_an_input_is_followed_to_its_results_with_the_keyboard(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, document(FEW))
    page.press("/")
    assert page.run("document.activeElement.id") == "find"
    page.type("PHOTO-000000")
    page.wait_for("document.querySelectorAll('.hits button').length === 10")
    assert text(page, "#follow .find p") == "10 inputs"
    page.press("ArrowDown")
    page.press("ArrowDown")
    assert "photo-0000001.jpg" in page.run("document.activeElement.textContent")
    page.press("Enter")
    page.wait_for("document.querySelector('.journey')")
    steps = texts(page, ".journey .what")
    assert ["done" in one for one in steps] == [True] * 3
    assert [one.split("done")[0].strip() for one in steps] == ["resize", "examine", "index"]
    assert texts(page, ".outputs li") == ["s3://bench/index/photo-0000001.txt"]
    # The failed one ends with its reason, and with the command that shows its log.
    page.run("document.getElementById('find').select()")
    page.type("photo-0000007")
    page.press("Enter")
    page.wait_for("document.querySelector('.journey .failed')")
    assert len(texts(page, ".journey > li")) == 2
    assert "OutOfMemory" in text(page, ".journey .more.bad")
    assert text(page, ".journey .command code").startswith("scar log -n resize -ri ")


def test_of_an_input_with_many_runs_the_wanted_file_is_followed(page: Page, tmp_path: Path) -> None:
    """All runs of the second function descend from the first input."""
    first: list[Run] = []

    def fanned_out(run: Run) -> Run:
        first.append(run)
        is_second = run.function == "examine"
        return run._replace(trace=first[0].trace, parent=first[0].span) if is_second else run

    show(page, tmp_path, json.loads(json.dumps(document_of(FEW, changed=fanned_out))))
    page.press("/")
    page.type("small/photo-0000005")
    page.press("Enter")
    page.wait_for("document.querySelector('.journey')")
    files = [Path(one).name for one in texts(page, ".journey .what .name")]
    assert files == ["photo-0000000.jpg", "photo-0000005.jpg"]
    page.click("[data-key='all runs']")
    page.wait_for("document.querySelectorAll('.journey > li').length > 2")
    assert len(texts(page, ".journey > li")) == int(text(page, "#follow .strong + .dim").split()[4])


def test_a_slow_run_leads_to_its_file(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, document(FEW))
    name = text(page, "#slowest button").rpartition("/")[2].partition(".")[0]
    page.click("#slowest button")
    page.wait_for("document.querySelector('.journey')")
    assert name in text(page, "#follow .strong")


def test_commands_are_copied(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, document(FEW))
    page.run(
        "Object.defineProperty(navigator, 'clipboard',"
        " {value: {writeText: async text => { window.copied = text; }}})"
    )
    page.click("#failures .command button")
    page.wait_for("window.copied")
    assert page.run("window.copied") == text(page, "#failures .command code")
    assert text(page, "#said") == "Copied"


def test_everything_that_can_be_used_has_a_place_in_the_order_of_the_keyboard(
    page: Page, tmp_path: Path
) -> None:
    show(page, tmp_path, document(FEW))
    seen = []
    focused = """(e => [e.id || e.className.baseVal || e.className || e.localName,
      e.getAttribute("aria-label") || e.textContent.trim().slice(0, 30),
      getComputedStyle(e).outlineStyle])(document.activeElement)"""
    for _ in range(30):
        page.press("Tab")
        seen.append(page.run(focused))
    assert seen[0][:2] == ["skip", "Skip to the report"]
    assert [one[1] for one in seen[1:9]] == [
        *("Overview", "Workflow", "Timeline", "Files", "Failures", "Functions", "Slowest", "Cost"),
    ]
    assert seen[9][0] == "theme"
    names = [one[0] for one in seen]
    assert names.index("canvas") < names.index("lanes") < names.index("find")
    assert [one for one in seen if one[2] == "none" and one[0] not in ("lambda", "lambda-batch")] == []
    page.run("document.querySelector('.skip').focus()")
    page.press("Enter")
    assert page.run("document.activeElement.id") == "main"


def luminance(page: Page) -> float:
    red, green, blue = map(
        float, re.findall(r"[\d.]+", page.run("getComputedStyle(document.body).backgroundColor"))[:3]
    )
    return red + green + blue


def test_theme_follows_the_system_until_the_reader_chooses(page: Page, tmp_path: Path) -> None:
    url = show(page, tmp_path, document(FEW))
    assert luminance(page) > 700
    page.media(prefers_color_scheme="dark")
    assert luminance(page) < 100
    assert page.run("document.getElementById('theme').getAttribute('aria-pressed')") == "true"
    page.click("#theme")
    assert luminance(page) > 700
    page.open(url)
    page.wait_for(READY)
    assert luminance(page) > 700, "the choice is remembered"
    page.run("localStorage.clear()")


@pytest.mark.parametrize(("theme", "width"), [("light", 1400), ("dark", 390)])
def test_axe_finds_nothing(page: Page, tmp_path: Path, theme: str, width: int) -> None:
    if not SCRIPT.exists():
        pytest.skip("axe-core is needed (python -m tests.axe_core)")
    page.size(width, 900, mobile=width < 700)
    page.media(prefers_color_scheme=theme, prefers_reduced_motion="reduce")
    show(page, tmp_path, document(FEWER))
    assert page.run("document.documentElement.scrollWidth") <= width, "nothing is wider than the window"
    page.run("for (const one of document.querySelectorAll('details')) one.open = true; null")
    page.run("document.getElementById('find').focus()")
    page.type("photo-0000007")
    page.wait_for("document.querySelector('.hits button')")
    page.run("document.querySelector('.hits button').click()")
    page.wait_for("document.querySelector('.journey')")
    page.run(SCRIPT.read_text(encoding="utf-8") + "; null")
    found = page.run(
        "axe.run().then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 200))]))"
    )
    assert found == [], json.dumps(found, indent=1)


def test_next_document_keeps_zoom_focus_and_what_is_open(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, document(FEW))
    page.run("document.querySelector('[data-fold^=\"files\"]').open = true")
    page.drag(middle(page, ".lanes", 0.02), middle(page, ".lanes", 0.2))
    page.run("document.getElementById('find').focus()")
    page.type("photo-0000001")
    page.wait_for("document.querySelector('.hits button')")
    page.press("Enter")
    page.wait_for("document.querySelector('.journey')")
    page.run("document.querySelector('#failures .command button').focus()")
    focused = page.run("document.activeElement.dataset.key")
    view = readout(page).partition(" (")[0]
    report = document(400)
    page.run(f"window.show({json.dumps(report)})")
    assert readout(page).partition(" (")[0] == view
    assert page.run("document.activeElement.dataset.key") == focused
    assert page.run("document.querySelector('[data-fold^=\"files\"]').open")
    assert texts(page, "#overview dd.value")[0] == "400"
    assert "photo-0000001" in text(page, "#follow .strong")
    assert page.run("document.getElementById('find').value") == "photo-0000001"
    page.press("Tab")
    page.run("document.querySelector('.lanes').focus()")
    page.press("Home")
    assert started(page) == report["totals"]["runs"]
    assert page.console == []


def test_print_opens_everything_on_white_paper(page: Page, tmp_path: Path) -> None:
    page.media(prefers_color_scheme="dark")
    show(page, tmp_path, document(FEW))
    page.run(
        "addEventListener('beforeprint', () => { window.printed = ["
        "document.querySelectorAll('details:not([open])').length,"
        " getComputedStyle(document.body).backgroundColor]; })"
    )
    closed = page.run("document.querySelectorAll('details:not([open])').length")
    assert len(page.call("Page.printToPDF", printBackground=True)["data"]) > 50_000
    assert closed > 1
    assert page.run("window.printed") == [1, "rgb(245, 246, 248)"], "all but the table of the timeline"
    page.wait_for(f"document.querySelectorAll('details:not([open])').length === {closed}")
    assert luminance(page) < 100


def test_workflow_with_a_loop_and_one_without_runs_are_shown(page: Page, tmp_path: Path) -> None:
    report = document(FEW)
    nodes, edges = report["workflow"]["nodes"], report["workflow"]["edges"]
    edges.append({"source": len(nodes) - 1, "target": 0, "label": "is inside", "dashed": True})
    edges.append({"source": 0, "target": len(nodes) - 1, "label": "", "dashed": False, "files": 3})
    show(page, tmp_path, report)
    assert page.run("document.querySelectorAll('#workflow .edge').length") == len(edges)
    empty = document_of(0, title="nothing")
    show(page, tmp_path, json.loads(json.dumps(empty)))
    assert "No run was found" in text(page, "#head .lede")
    page.wait_for("document.querySelector('#timeline-readout').textContent === 'No runs in this period.'")
    assert page.console == []


def test_live_page_shows_each_document_that_its_server_sends(page: Page) -> None:
    """The page of `scar watch --web`."""
    with serving(0, document(FEW), partial(render, live=EVENTS)) as live:
        page.open(live.url)
        page.wait_for(READY)
        assert texts(page, "#overview dd.value")[0] == "200"
        assert text(page, ".live") == "Live"
        live.publish(document(400))
        page.wait_for("document.querySelector('#overview dd.value').textContent === '400'")
        live.end()
        page.wait_for("document.querySelector('.live').textContent === 'Ended'")
        assert page.console == []
        assert all(url.startswith(live.url) for url in page.requests)
