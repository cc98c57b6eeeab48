"""The pages of the documentation site that explain the codes of diagnostics, one for each code.

Diagnostics name the address of their page (`Diagnostic.url`). The text comes from
`fdl_schemas/diagnostics/codes.md`, and links in it are relative to that file.
"""

from __future__ import annotations

from difflib import ndiff

from fdl_schemas.diagnostics.codes import CODES_FILE, Explanation, explanations
from fdl_schemas.diagnostics.diagnostic import FIRST_WARNING


def overview() -> str:
    """The page that lists all codes, in Markdown."""
    introduction = CODES_FILE.read_text(encoding="utf-8").partition("### ")[0]
    lines = [
        introduction,
        "| code | problem |",
        "|---|---|",
    ]
    lines += [
        f"| [{code}](codes.md#{code.lower()}) | {about.title} |" for code, about in explanations().items()
    ]
    return "\n".join(lines) + "\n"


def page(code: str) -> str:
    """The page of one code, in Markdown: what is wrong, and how an example changes."""
    about = explanations()[code]
    kind = "Warning" if code >= FIRST_WARNING else "Error"
    return f"# {code}: {about.title}\n\n*{kind}.* {about.text}\n\n{_examples(about)}\n"


def _examples(about: Explanation) -> str:
    if about.language != "yaml":
        before, after = (f"```{about.language}\n{text}```" for text in (about.bad, about.good))
        return f"Before:\n\n{before}\n\nAfter:\n\n{after}"
    lines = (line for line in ndiff(about.bad.splitlines(), about.good.splitlines()) if line[0] != "?")
    changed = "".join(f"{line.rstrip()}\n" for line in lines)
    return f"Lines with `-` cause the diagnostic. Lines with `+` replace them.\n\n```diff\n{changed}```"
