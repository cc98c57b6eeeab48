"""The shape of the data, checked against `fdl.schema.json`.

The JSON Schema is the language: editors read it, the documentation comes from it, and `validator` judges by
it here. What this module adds is words. A validator says that `"1024"` is not of type `integer`; a person
wants to know that the quotes have to go. Each mismatch becomes one diagnostic at the key or value that it is
about, and the offending part is cut out of the data, so that the stations after this one see only what has
the right shape and can look for more problems in the same go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final

from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.explain import called, explain, one_of, wrong_form
from fdl_schemas.reading.findings import Findings
from fdl_schemas.reading.validator import Mismatch, mismatches, part

SCHEMA_FILE: Final = Path(__file__).resolve().parents[1] / "fdl.schema.json"


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the language."""
    loaded: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return loaded


def check_shape(findings: Findings) -> Any:
    """Checks the document against the schema; gives its data without the parts that are wrong."""
    data = findings.document.data
    cut: list[PathInFile] = []
    for found in mismatches(data, schema()):
        if findings.full:
            return {}  # what was not looked at has perhaps the wrong shape, and is nothing for the rules
        cut += _report(found, findings)
    if not cut:
        return data
    return _without(data, cut)


def _report(found: Mismatch, findings: Findings) -> Iterable[PathInFile]:
    """Says what one mismatch means; gives the paths that have to be cut out."""
    path = found.path
    if found.about_key:
        path = (*path, found.value)
        message, expected, advice = wrong_form(found, "this key")
        findings.error("FDL016", message, path, expected=expected, help=advice, on_key=True)
        findings.damage(path)
        return [path]
    if found.keyword == "additionalProperties":
        return _report_unknown_keys(found, findings)
    if found.keyword == "required":
        return _report_missing_keys(found, findings)
    spelling = findings.document.node(path).text
    code, (message, expected, advice) = explain(found, called(path), spelling)
    on_key = found.value is None or found.keyword in ("minProperties", "minItems")
    findings.error(code, message, path, expected=expected, help=advice, on_key=on_key and bool(path))
    findings.damage(path)
    return [path]


def _report_unknown_keys(found: Mismatch, findings: Findings) -> list[PathInFile]:
    path = found.path
    allowed = list(found.schema.get("properties", {}))
    unknown = [key for key in found.value if key not in found.schema.get("properties", {})]
    paths = []
    for key in unknown:
        paths.append((*path, key))
        findings.damage((*path, key), unknown_key=True)
        if findings.full:
            continue
        nearest = get_close_matches(key.lower()[:64], allowed, n=1, cutoff=0.6)
        if nearest:
            advice = f"did you mean {quoted(nearest[0])}?"
            findings.damage((*path, nearest[0]))  # what was meant by it is not known
        elif path == ("functions",):
            advice = "list each function below `aws:`, as `- lambda:` with its `name` and its keys below that"
        elif homes := _keys_and_homes().get(key):
            advice = f"{quoted(key)} belongs in {' or '.join(homes)}"
        else:
            advice = "remove the key, or correct its spelling"
        findings.error(
            "FDL011",
            f"unknown key {quoted(key)} in {called(path)}",
            (*path, key),
            expected=one_of(allowed),
            help=advice,
            on_key=True,
        )
    return paths


def _report_missing_keys(found: Mismatch, findings: Findings) -> list[PathInFile]:
    path = found.path
    for key in found.wanted:
        if key in found.value:
            continue
        findings.damage((*path, key))
        if findings.has_unknown_keys(path) and _looks_misspelt(key, found.value, found.schema):
            continue  # the unknown key is the problem, and was reported
        about = found.schema.get("properties", {}).get(key, {})
        examples = about.get("examples") or resolved(about).get("examples") or []
        advice = (
            f"add `{key}: {examples[0]}`" if examples and isinstance(examples[0], str) else f"add `{key}:`"
        )
        findings.error(
            "FDL013",
            f"{called(path)} has no {quoted(key)}",
            path,
            expected=f"the key {quoted(key)}",
            help=advice,
            on_key=True,
        )
    return []


def _looks_misspelt(key: str, instance: Mapping[str, Any], schema_of_map: Mapping[str, Any]) -> bool:
    unknown = [name.lower()[:64] for name in instance if name not in schema_of_map.get("properties", {})]
    return bool(get_close_matches(key, unknown, n=1, cutoff=0.6))


@cache
def _keys_and_homes() -> Mapping[str, tuple[str, ...]]:
    """For each key of the language the names of the maps that may hold it."""
    homes: dict[str, list[str]] = {}
    waiting: list[tuple[str, Any]] = [("the top level", schema())]
    while waiting:
        name, about = waiting.pop()
        about = resolved(about)
        for key, below in about.get("properties", {}).items():
            homes.setdefault(key, []).append(name)
            waiting.append((f"`{key}`", below))
        if "items" in about:
            waiting.append((f"an entry of {name}", about["items"]))
    return {key: tuple(dict.fromkeys(names)) for key, names in homes.items()}


def resolved(about: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of the schema with what it refers to; what it says itself wins."""
    return {**part(about["$ref"], schema()), **about} if "$ref" in about else about


def _without(data: Any, paths: Iterable[PathInFile]) -> Any:
    """A copy of the data without the values at `paths`; in lists None takes their place, so that indexes
    stay.
    """
    copied = _copy(data)
    for path in paths:
        if not path:
            return {}
        parent = copied
        for step in path[:-1]:
            try:
                parent = parent[step]
            except (KeyError, IndexError, TypeError):
                parent = None  # a part of it was cut out before
                break
        if isinstance(parent, dict):
            parent.pop(path[-1], None)
        elif isinstance(parent, list) and isinstance(path[-1], int):
            parent[path[-1]] = None
    return copied


def _copy(data: Any) -> Any:
    # Not deepcopy: that keeps shared values shared, and cutting something out for one function would cut it
    # for all.
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_copy(value) for value in data]
    return data
