from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

from scar_cli.report import page
from scar_cli.report.page import render

FOLDER = Path(page.__file__).with_name("page")
EVIL = "</script><script>alert(1)</script><!--"


def document(title: str) -> dict[str, Any]:
    """As much of a document as this module reads."""
    return {"title": title, "failures": [{"reason": EVIL, "lines": "a\u2028b \ud800"}]}


def policy(text: str) -> dict[str, list[str]]:
    (content,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = (rule.split() for rule in html.unescape(content).split(";"))
    return {name: values for name, *values in rules}


def data(text: str) -> Any:
    (content,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', text, re.DOTALL)
    return json.loads(content)


def test_document_is_in_the_page_unchanged_and_ends_no_element() -> None:
    text = render(document(EVIL))
    assert data(text) == document(EVIL)
    assert text.count("<script") == text.count("</script>") == 2
    assert f"<title>{html.escape(EVIL)}</title>" in text
    assert text.encode("utf-8")


def test_policy_allows_only_the_style_and_the_script_of_the_page() -> None:
    text = render(document("one"))
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy(text)[rule] == [f"'sha256-{digest}'"]
    rules = policy(text)
    assert rules["default-src"] == ["'none'"]
    assert rules["require-trusted-types-for"] == ["'script'"]
    assert rules["trusted-types"] == ["'none'"]
    assert "connect-src" not in rules


def test_only_a_live_page_may_connect_and_only_to_its_own_server() -> None:
    text = render(document("one"), live="events")
    assert policy(text)["connect-src"] == ["'self'"]
    assert '<meta name="scar-live" content="events">' in text


def test_same_document_gives_the_same_page() -> None:
    assert render(document("one")) == render(document("one"))


def test_scripts_parse_no_text_as_html_and_load_nothing() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
        r"|\beval\b|new Function|import\(|XMLHttpRequest|fetch\(|WebSocket|sendBeacon|setAttribute\(\"style"
    )
    scripts = sorted(FOLDER.glob("*.js"))
    assert len(scripts) == len(page._SCRIPTS)
    for file in scripts:
        assert forbidden.search(file.read_text(encoding="utf-8")) is None, file.name
    addresses = re.compile(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", re.IGNORECASE)
    for file in FOLDER.iterdir():
        found = set(addresses.findall(file.read_text(encoding="utf-8")))
        assert found <= {"http://www.w"}, (
            f"{file.name}: only the name of SVG's namespace looks like an address"
        )
