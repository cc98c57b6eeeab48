"""The documentation site: built without a warning, with links that lead somewhere, searched in a browser."""

from __future__ import annotations

import http.server
import json
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from docs.site import TOP, build
from fdl_schemas.diagnostics.codes import explanations
from fdl_schemas.diagnostics.diagnostic import SITE, Diagnostic

CHROMIUM = shutil.which("chromium")
# MyST uses an attribute of Sphinx 9 that Sphinx 11 will remove.
pytestmark = pytest.mark.filterwarnings("ignore:'myst_parser:PendingDeprecationWarning")


class Page(HTMLParser):
    """The links, anchors and resources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.anchors.update(value for name, value in found.items() if name == "id")
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if "src" in found:
            self.loaded.append(found["src"])
        if tag == "link" and found.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    build(folder / "site", folder / "work")
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Each page by its address below the site's."""
    files = [file for file in site.rglob("*.html") if "_static" not in file.parts]
    return {
        file.relative_to(site).as_posix().removesuffix("index.html"): Page(file.read_text(encoding="utf-8"))
        for file in files
    }


@pytest.mark.parametrize("code", explanations())
def test_address_in_each_diagnostic_exists(code: str, site: Path) -> None:
    address = Diagnostic(code, "m", "w.yaml").url
    assert address.startswith(SITE)
    text = (site / address.removeprefix(SITE) / "index.html").read_text(encoding="utf-8")
    assert re.search(rf"<h1>{code}: .", text)


def test_every_link_and_anchor_leads_somewhere(site: Path, pages: dict[str, Page]) -> None:
    checked, broken = 0, []
    for address, page in pages.items():
        for link in page.links:
            target = urlsplit(urljoin(f"http://site/{address}", link))
            if target.netloc != "site":
                if target.scheme not in ("https", "http", "mailto") or " " in link:
                    broken.append((address, link))
                continue
            path = unquote(target.path).lstrip("/")
            found = target.fragment in pages[path].anchors if path in pages else (site / path).is_file()
            checked += 1
            if not found:
                broken.append((address, link))
    assert broken == []
    assert checked > 1000


def test_nothing_is_loaded_from_other_hosts(site: Path, pages: dict[str, Page]) -> None:
    loaded = {link for page in pages.values() for link in page.loaded}
    assert [link for link in loaded if urlsplit(link).netloc] == []
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert re.findall(r"@import|url\(['\"]?(?:https?:)?//", styles) == []


def test_every_markdown_file_of_the_documentation_is_a_page(pages: dict[str, Page]) -> None:
    names = {file.stem for file in (TOP / "docs").glob("*.md")} | {"changelog", "contributing", "security"}
    examples = {f"examples/{file.parent.name}" for file in (TOP / "examples").glob("*/README.md")}
    assert {f"{name}/" for name in names | examples} <= pages.keys()


def test_read_the_docs_accepts_its_configuration() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.readthedocs"]
    subprocess.run([*check, ".readthedocs.yaml"], cwd=TOP, check=True, timeout=60)


DRIVER = """<!doctype html><iframe id="frame" src="/" width="1280" height="900"></iframe><script>
const frame = document.getElementById("frame");
const wait = async find => {
  for (let i = 0; i < 300; i++) {
    try { const found = find(frame.contentDocument); if (found) return found; } catch (error) { }
    await new Promise(done => setTimeout(done, 50));
  }
  throw new Error("waited for " + find);
};
(async () => {
  const found = {};
  try {
    const loaded = (shown, what) => shown.readyState === "complete" && shown.querySelector(what);
    const input = await wait(shown => loaded(shown, "input.sidebar-search"));
    input.value = "FDL012";
    input.form.requestSubmit();
    const link = await wait(shown => shown.querySelector("ul.search li a"));
    found.results = link.textContent;
    link.click();
    const title = await wait(shown => shown.title.startsWith("FDL") && loaded(shown, "h1"));
    found.title = title.textContent;
    found.path = frame.contentWindow.location.pathname;
    const toggle = frame.contentDocument.querySelector(".theme-toggle");
    for (let i = 0; i < 3; i++) {
      const theme = frame.contentDocument.body.dataset.theme;
      found[theme] = getComputedStyle(frame.contentDocument.body).backgroundColor;
      toggle.click();
    }
  } catch (error) { found.error = error.message; }
  await fetch("/result", {method: "POST", body: JSON.stringify(found)});
})();
</script>"""


@contextmanager
def served(site: Path, results: queue.Queue[bytes]) -> Iterator[int]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/driver":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(DRIVER.encode())

        def do_POST(self) -> None:
            results.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="a browser is needed (see tests/tools.sh): chromium")
def test_a_browser_finds_a_diagnostic_and_shows_it_light_and_dark(site: Path, tmp_path: Path) -> None:
    results: queue.Queue[bytes] = queue.Queue()
    with served(site, results) as port:
        command = [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *(f"--user-data-dir={tmp_path}", "--no-proxy-server", "--remote-debugging-port=0"),
            *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"http://127.0.0.1:{port}/driver"),
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                found = json.loads(results.get(timeout=60))
            finally:
                browser.terminate()
    title = f"FDL012: {explanations()['FDL012'].title}"
    assert "error" not in found, found
    assert (found["results"], found["path"]) == (title, "/diagnostics/fdl012/")
    assert found["title"].startswith(title)
    assert found["light"] == "rgb(255, 255, 255)"
    assert sum(map(int, re.findall(r"\d+", found["dark"]))) < 3 * 64
