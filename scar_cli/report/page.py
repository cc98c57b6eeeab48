"""The report's page: one HTML file with its style, scripts and document. It makes no requests.

    page/page.html   the frame: sections and landmarks
    page/page.css    light, dark and print
    page/*.js        elements from the document, in the order of `_SCRIPTS`

What is in the document (names of files, errors, ends of logs) can be hostile. The page's Content Security
Policy allows only its own style and script, by their hashes, and no requests; `require-trusted-types-for`
makes the browser refuse to parse a string as HTML. The document itself is a data block, which never runs,
without `<`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(__file__).with_name("page")
_SCRIPTS: Final = ("text", "elements", "runs", "workflow", "timeline", "follow", "sections", "report")


def render(document: Mapping[str, Any], *, live: str | None = None) -> str:
    """The page of a report's document, as HTML.

    Args:
        document: The report's document (`report.schema.json`).
        live: Relative URL of server-sent events, each with the next document as JSON; an empty one ends them.
    """
    style, script = _style(), _script()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            *([] if live is None else ["connect-src 'self'"]),
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    data = json.dumps(document, separators=(",", ":"), allow_nan=False)
    parts = {
        "policy": escape(policy, quote=True),
        "live": escape(live or "", quote=True),
        "title": escape(str(document.get("title", "scar report"))),
        "style": style,
        # No `</script` or `<!--` can begin in the data block.
        "report": data.replace("<", "\\u003c"),
        "script": script,
    }
    text = (_FOLDER / "page.html").read_text(encoding="utf-8")
    begin, *rest = text.split("{{")
    return begin + "".join(parts[name] + after for name, after in (one.split("}}", 1) for one in rest))


@cache
def _style() -> str:
    return (_FOLDER / "page.css").read_text(encoding="utf-8")


@cache
def _script() -> str:
    """All scripts as one, whose names are visible to no other script; `show` is the page's only global."""
    scripts = "\n".join((_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{scripts}\nwindow.show = show;\n}})();\n'


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
