"""Builds the documentation site into build/site: `make docs`.

The sources are Markdown as code hosts render it: a link names a file of the repository. Sphinx reads copies.
In these, a link to a page leads to that page of the site, and a link to another file offers it for download.
The site loads nothing from other hosts.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fdl_schemas.diagnostics.codes import explanations
from fdl_schemas.diagnostics.diagnostic import SITE
from fdl_schemas.docs import diagnostics

TOP: Final = Path(__file__).resolve().parents[1]
_CODES: Final = "fdl_schemas/diagnostics/codes.md"
_CHAPTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Guides": (
        "first-image",
        "scripts",
        "images",
        "queues",
        "batch",
        "large-workflows",
        "once",
        "metrics",
        "launch",
        "watch",
        "report",
        "advise",
        "monitoring",
        "cost",
        "stages",
        "roles",
        "pipelines",
        "construct",
        "from-scar",
    ),
    "Reference": ("fdl", "diagnostics/index", "contract", "examples/index"),
    "Embedded cloud": ("local-cloud", "performance", "reliability"),
    "Project": ("architecture", "dependencies", "contributing", "security", "changelog"),
}
"""Sphinx warns of a page that is missing here."""

_OPTIONS: Final[Mapping[str, Any]] = {
    "project": "scar-cdk",
    "extensions": ["myst_parser"],
    "root_doc": "index",
    "myst_heading_anchors": 6,
    "highlight_language": "none",
    "html_theme": "furo",
    "html_title": "scar-cdk",
    "html_baseurl": SITE,
    "html_static_path": [str(TOP / "docs" / "site.css")],
    "html_css_files": ["site.css"],
    "html_copy_source": False,
    "html_use_index": False,
    "html_show_copyright": False,
    "html_show_sphinx": False,
    "pygments_style": "default",
    "show_warning_types": True,
}
_NOT_IN_NAVIGATION: Final = "---\norphan: true\n---\n"
_FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")


def build(target: Path, work: Path) -> None:
    """Build the site.

    Args:
        target: folder for the site. It is replaced.
        work: folder for the sources that Sphinx reads, and for its cache. It is replaced.

    Raises:
        sphinx.errors.SphinxError: a warning, such as a link to a page or an anchor that does not exist.
    """
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    for folder in (target, work):
        shutil.rmtree(folder, ignore_errors=True)
    sources = work / "sources"
    write_sources(sources)
    with docutils_namespace():
        Sphinx(
            srcdir=sources,
            confdir=None,
            outdir=target,
            doctreedir=work / "doctrees",
            buildername="dirhtml",
            confoverrides=dict(_OPTIONS),
            status=None,
            warningiserror=True,
            exception_on_warning=True,
        ).build()


def write_sources(folder: Path) -> None:
    """Write the pages as Sphinx reads them, with the pictures and the files that they link to."""
    sources = _Sources(folder, _pages())
    for source, name in sources.pages.items():
        text = (TOP / source).read_text(encoding="utf-8")
        if name == "index":
            text += "".join(_contents(names, title) for title, names in _CHAPTERS.items())
        elif name == "examples/index":
            names = [one.removeprefix("examples/") for one in sources.pages.values() if "examples/" in one]
            text += _contents(one for one in names if one != "index")
        sources.write(source, name, text)
    sources.write(_CODES, "diagnostics/index", diagnostics.overview())
    for code in explanations():
        sources.write(_CODES, f"diagnostics/{code.lower()}", _NOT_IN_NAVIGATION + diagnostics.page(code))


def _pages() -> dict[str, str]:
    """The name that each Markdown file of the repository has on the site."""
    pages = {"README.md": "index", "examples/README.md": "examples/index"}
    pages |= {f"{name}.md": name.lower() for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")}
    pages |= {f"docs/{file.name}": file.stem for file in sorted((TOP / "docs").glob("*.md"))}
    for file in sorted((TOP / "examples").glob("*/**/README.md")):
        path = file.relative_to(TOP)
        pages[path.as_posix()] = path.parent.as_posix()
    return pages


@dataclass(frozen=True, slots=True)
class _Sources:
    """Writes the sources of pages into a folder."""

    folder: Path
    pages: Mapping[str, str]

    def write(self, source: str, name: str, text: str) -> None:
        """Write a page.

        Args:
            source: the file of the repository to which links in the text are relative.
            name: of the page on the site.
            text: Markdown.
        """

        def there(link: re.Match[str]) -> str:
            path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
            page = self._address(path, link["anchor"] or "")
            return posixpath.relpath(page, posixpath.dirname(name) or ".")

        parts = _FENCE.split(text)
        parts[::2] = [_LINK.sub(there, part) for part in parts[::2]]
        target = self.folder / f"{name}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(parts), encoding="utf-8")

    def _address(self, path: str, anchor: str) -> str:
        """Where a link to a file of the repository leads on the site."""
        if (TOP / path).is_dir():
            path += "/README.md"
        if path == _CODES:
            return f"diagnostics/{anchor.removeprefix('#') or 'index'}.md"
        if path in self.pages:
            return f"{self.pages[path]}.md{anchor}"
        copy = f"files/{path}"
        (self.folder / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TOP / path, self.folder / copy)
        return copy


def _contents(names: Iterable[str], title: str = "") -> str:
    """An entry of the navigation for each page."""
    lines = ["", "```{toctree}", ":hidden:", *([f":caption: {title}"] if title else []), "", *names, "```"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """The exit code: 0 built, 2 a problem in the sources."""
    from sphinx.errors import SphinxError

    target = TOP / "build" / "site"
    try:
        build(target, TOP / "build" / "docs")
    except (SphinxError, OSError) as error:
        print(f"docs: {error}", file=sys.stderr)
        return 2
    print(f"Built {target.relative_to(TOP)}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
