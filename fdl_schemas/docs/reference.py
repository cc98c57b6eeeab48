"""The chapters of docs/fdl.md: every key, what it becomes in AWS, what is not supported yet, every code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import ndiff
from pathlib import Path
from typing import Any, Final

from fdl_schemas.diagnostics.codes import Explanation, explanations
from fdl_schemas.diagnostics.diagnostic import FIRST_WARNING
from fdl_schemas.reading.schema import resolved, schema
from fdl_schemas.reading.validator import types_of
from fdl_schemas.rules.not_supported_yet import UNSUPPORTED

INTRODUCTION: Final = Path(__file__).with_name("introduction.md")

_WORDS: Final[Mapping[str, str]] = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "array": "list",
    "object": "map",
    "null": "nothing",
}
_OPTIONS_IN_LINE: Final = 5
_LIMITS: Final = (
    ("minLength", "maxLength", "characters"),
    ("minItems", "maxItems", "entries"),
    ("minProperties", "maxProperties", "entries"),
)


@dataclass(frozen=True, slots=True)
class Map:
    """A map of the language: what has a chapter of its own."""

    path: str
    """As people write it, `functions.aws[].lambda`."""
    about: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Its heading."""
        return f"`{self.path}`" if self.path else "Top level"

    @property
    def anchor(self) -> str:
        """What a link to it ends with: the heading as code hosts turn it into one."""
        kept = (character for character in self.title.lower() if character.isalnum() or character in " _-")
        return "".join(kept).replace(" ", "-")


def document() -> str:
    """The whole text of docs/fdl.md."""
    maps = list(_maps("", schema()))
    parts = [
        "<!-- Written by `python -m fdl_schemas.docs` from the schema. Do not edit it here. -->",
        INTRODUCTION.read_text(encoding="utf-8").rstrip(),
        "## Every key",
        "A path such as `functions.aws[].lambda` is a map; `[]` stands for each entry of a list, `NAME` for "
        "a name that you choose. *Required* keys have no default; any other key may be left out.",
        *(_chapter(one, maps) for one in maps),
        "## What each key becomes in AWS",
        "Constructs of the CDK make the CloudFormation resources; the runner's configuration is a small file "
        "that is packaged with the function.",
        _aws_table(maps),
        "## Not supported yet",
        _unsupported(),
        "## Diagnostics",
        "Each diagnostic of `scar validate` has a code that never changes its meaning. Those from "
        f"[{FIRST_WARNING}](#{FIRST_WARNING.lower()}) on are warnings. Lines with `-` lead to the code, "
        "lines with `+` stand in their place where it is put right.",
        *(_code(code, about) for code, about in explanations().items()),
    ]
    return "\n\n".join(parts) + "\n"


def _maps(path: str, about: Mapping[str, Any]) -> Iterator[Map]:
    """A map, and all maps below it, each once for each place in which it may stand."""
    if "properties" in about:
        yield Map(path, about)
    for key, below in about.get("properties", {}).items():
        yield from _maps(f"{path}.{key}" if path else key, resolved(below))
    if isinstance(about.get("items"), dict):
        yield from _maps(f"{path}[]", resolved(about["items"]))
    if isinstance(about.get("additionalProperties"), dict):
        yield from _maps(f"{path}.NAME", resolved(about["additionalProperties"]))


def _chapter(one: Map, maps: list[Map]) -> str:
    lines = [f"### {one.title}", "", str(one.about.get("description", "")), ""]
    lines += ["| key | type, *default*, limits | meaning |", "|---|---|---|"]
    required = one.about.get("required", ())
    for key, below in one.about["properties"].items():
        path = f"{one.path}.{key}" if one.path else key
        about = resolved(below)
        link = next((other for other in maps if other.path in (path, f"{path}[]", f"{path}.NAME")), None)
        name = f"[`{key}`](#{link.anchor})" if link else f"`{key}`"
        lines.append(f"| {name} | {_type(about, key in required)} | {_meaning(about, path)} |")
    return "\n".join(lines)


def _type(about: Mapping[str, Any], required: bool) -> str:
    parts = [_kind(about)]
    if required:
        parts.append("*required*")
    elif "default" in about:
        parts.append(f"*{_value(about['default'])}*")
    return _cell(", ".join([*parts, *_limits(about)]))


def _kind(about: Mapping[str, Any]) -> str:
    if "enum" in about:
        return _either(about["enum"]) if len(about["enum"]) <= _OPTIONS_IN_LINE else "a number of days"
    if "type" not in about:
        return "anything"
    words = " or ".join(_WORDS[kind] for kind in reversed(types_of(about["type"])))
    inside = about.get("items") if "array" in about["type"] else about.get("additionalProperties")
    if isinstance(inside, dict):
        inside = resolved(inside)
        plural = {"string": "texts", "object": "maps"}[inside.get("type", "object")]
        words += f" of {_either(inside['enum']) if 'enum' in inside else plural}"
    return words + (f" ({about['x-unit']})" if "x-unit" in about else "")


def _either(options: list[Any]) -> str:
    quoted = [f"`{option}`" for option in options]
    return " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def _limits(about: Mapping[str, Any]) -> Iterator[str]:
    if "minimum" in about and "maximum" in about:
        yield f"{about['minimum']} to {about['maximum']}"
    elif "minimum" in about:
        yield f"at least {about['minimum']}"
    if "x-expected" in about:
        yield str(about["x-expected"])
    elif isinstance(about.get("items"), dict) and "x-expected" in resolved(about["items"]):
        yield f"each {resolved(about['items'])['x-expected']}"
    if "propertyNames" in about:
        yield f"each key {resolved(about['propertyNames'])['x-expected']}"
    if "enum" in about and len(about["enum"]) > _OPTIONS_IN_LINE:
        yield "one of " + ", ".join(str(option) for option in about["enum"])
    for least, most, unit in _LIMITS:
        if about.get(least) == about.get(most) and most in about:
            yield f"exactly {about[most]} {'entry' if about[most] == 1 else unit}"
        elif most in about:
            yield f"at most {about[most]} {'entry' if about[most] == 1 else unit}"


def _meaning(about: Mapping[str, Any], path: str) -> str:
    text = str(about.get("description", ""))
    example = next(iter(about.get("examples", ())), None)
    if example is not None:
        text += f" Example: `{_yaml(example)}`."
    missing = [one for one in UNSUPPORTED if path == f"functions.aws[].{one.path}"]
    for one in missing:
        text += f" **Not supported yet:** {one.what}."
    return _cell(text)


def _value(value: Any) -> str:
    return f"`{_yaml(value)}`" if value not in ("", [], {}) else "empty"


def _yaml(value: Any) -> str:
    """A value on one line, as it may stand in an FDL file."""
    if isinstance(value, bool) or not isinstance(value, (str, list, dict)):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value) if value.isdigit() or value.startswith("$") else value


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _aws_table(maps: list[Map]) -> str:
    lines = ["| key | in AWS |", "|---|---|"]
    for one in maps:
        for key, below in one.about["properties"].items():
            becomes = below.get("x-aws") or resolved(below).get("x-aws")
            if becomes:
                path = f"{one.path}.{key}" if one.path else key
                if any(path == f"functions.aws[].{missing.path}" for missing in UNSUPPORTED):
                    becomes += " ([not in every case yet](#not-supported-yet))"
                lines.append(f"| `{path}` | {_cell(becomes)} |")
    return "\n".join(lines)


def _unsupported() -> str:
    if not UNSUPPORTED:
        return "Everything of the language can be deployed."
    lines = [
        "The language has these, and this version refuses to deploy them ([FDL040](#fdl040)).",
        "",
        "| key | what | until then |",
        "|---|---|---|",
    ]
    lines += [
        f"| `functions.aws[].{one.path}` | {_cell(one.what)} | {_cell(one.instead)} |" for one in UNSUPPORTED
    ]
    return "\n".join(lines)


def _code(code: str, about: Explanation) -> str:
    text = f"### {code}\n\n**{about.title}.** {about.text}\n\n"
    if about.language != "yaml":
        return text + f"```{about.language}\n{about.bad}{about.good}```"
    lines = (line for line in ndiff(about.bad.splitlines(), about.good.splitlines()) if line[0] != "?")
    return text + "```diff\n" + "".join(f"{line.rstrip()}\n" for line in lines) + "```"
