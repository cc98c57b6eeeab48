"""The shape of the data, checked against `fdl.schema.json`.

The JSON Schema defines the language: editors read it, the reference is generated from it, and `validator`
uses it here. This module adds plain words: instead of `"1024"` not being of type `integer`, a message says to
remove the quotes. Each mismatch becomes one diagnostic at its key or value, and that part is removed from the
data, so that the rules see only data of the right shape and can report more problems in the same run.
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
from fdl_schemas.reading.explain import ADVICE_FOR_MAPS, called, explain, one_of, wrong_form
from fdl_schemas.reading.findings import Findings
from fdl_schemas.reading.validator import Mismatch, mismatches, part

SCHEMA_FILE: Final = Path(__file__).resolve().parents[1] / "fdl.schema.json"


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the language."""
    loaded: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return loaded


def check_shape(findings: Findings) -> Any:
    """Checks the document against the schema; returns its data without the parts that are wrong."""
    data = findings.document.data
    cut: list[PathInFile] = []
    for found in mismatches(data, schema()):
        if findings.full:
            return {}  # the rest was not checked, and may have the wrong shape for the rules
        cut += _report(found, findings)
    if not cut:
        return data
    return _without(data, cut)


def _report(found: Mismatch, findings: Findings) -> Iterable[PathInFile]:
    """Explains one mismatch; returns the paths that have to be removed from the data."""
    path = found.path
    if path[:2] == ("functions", "oscar") and _is_service_without_cluster(
        findings.document.node(path[:3]).data
    ):
        return _report_missing_cluster(path[:3], findings)
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
    if found.value is None and (below := _keys_at_the_level_of(path, findings)):
        keys = quoted(below[0]) if len(below) == 1 else f"{quoted(below[0])} and the keys after it"
        advice = f"indent {keys} by two more spaces, below {quoted(path[-1])}"
    on_key = found.value is None or found.keyword in ("minProperties", "minItems")
    findings.error(code, message, path, expected=expected, help=advice, on_key=on_key and bool(path))
    findings.damage(path)
    return [path]


def _is_service_without_cluster(entry: Any) -> bool:
    service = schema()["$defs"]["oscarService"]["properties"]
    return (
        isinstance(entry, dict)
        and "name" in entry
        and isinstance(entry["name"], str)
        and entry.keys() <= service.keys()
    )


def _report_missing_cluster(path: PathInFile, findings: Findings) -> list[PathInFile]:
    findings.error(
        "FDL013",
        f"{called(path)} has no cluster",
        path,
        expected="the name of the OSCAR cluster, and the service's keys below it",
        help="write `- CLUSTER:`, and indent the service's keys below it",
        on_key=True,
    )
    findings.damage(path)
    return [path]


def _keys_at_the_level_of(path: PathInFile, findings: Findings) -> list[str]:
    """The keys that belong below an empty key, but are at its own level."""
    if not path or not isinstance(path[-1], str):
        return []
    parent = findings.document.node(path[:-1]).data
    known, below = _keys_at(path[:-1]), _keys_at(path)
    return [key for key in parent if key in below and key not in known] if isinstance(parent, dict) else []


def _keys_at(path: PathInFile) -> Mapping[str, Any]:
    """The keys that the schema allows at a path, with their schemas."""
    about: Mapping[str, Any] = schema()
    for step in path:
        about = resolved(about)
        below = about.get("items") if isinstance(step, int) else about.get("properties", {}).get(step)
        if below is None:
            below = about.get("additionalProperties")
        if not isinstance(below, dict):
            return {}
        about = below
    keys: Mapping[str, Any] = resolved(about).get("properties", {})
    return keys


def _report_unknown_keys(found: Mismatch, findings: Findings) -> list[PathInFile]:
    path = found.path
    allowed = list(found.schema.get("properties", {}))
    unknown = [key for key in found.value if key not in found.schema.get("properties", {})]
    misplaced = {
        below
        for key in allowed
        if found.value.get(key) is None and (key in found.value or key in found.schema.get("required", ()))
        for below in _keys_at_the_level_of((*path, key), findings)
    }
    paths = []
    explained = False
    for key in unknown:
        paths.append((*path, key))
        findings.damage((*path, key), unknown_key=True)
        if findings.full or key in misplaced:
            continue  # reported as a problem of the empty or missing key that it belongs to
        expected = (
            one_of(allowed)
            if len(allowed) <= _LISTED
            else f"one of the {len(allowed)} keys of {called(path)}"
        )
        nearest = get_close_matches(key.lower()[:64], allowed, n=1, cutoff=0.6)
        if nearest:
            advice = f"did you mean {quoted(nearest[0])}?"
            findings.damage((*path, nearest[0]))  # the value that was meant is unknown
        elif advice_for_all := ADVICE_FOR_MAPS.get(str(path[-1]) if path else ""):
            if explained:
                continue
            explained, advice = True, advice_for_all
        else:
            advice = _place_of(key, found, findings)
        findings.error(
            "FDL011",
            f"unknown key {quoted(key)} in {called(path)}",
            (*path, key),
            expected=expected,
            help=advice,
            on_key=True,
        )
    return paths


_LISTED: Final = 8
"""A message lists no more keys than these."""


def _place_of(key: str, found: Mismatch, findings: Findings) -> str:
    """Where a key belongs that is unknown in its map."""
    path = found.path
    homes = [sibling for sibling in found.schema.get("properties", {}) if key in _keys_at((*path, sibling))]
    for sibling in homes:
        if sibling in found.value:
            return f"{quoted(key)} belongs in {quoted(sibling)}: indent it by two more spaces"
    if len(homes) == 1:
        return f"{quoted(key)} belongs in {quoted(homes[0])}: write `{homes[0]}:` above it, and indent it"
    for length in range(len(path) - 1, 0, -1):
        if key in _keys_at(path[:length]):
            outer, inner = called(path[:length]), called(path[: length + 1])
            return f"{quoted(key)} belongs in {outer}: align it with {inner}"
    if maps := _keys_and_homes().get(key):
        return f"{quoted(key)} belongs in {' or '.join(maps)}"
    return "write a space after the `-`" if key.startswith("-") else "correct the spelling, or remove the key"


def _report_missing_keys(found: Mismatch, findings: Findings) -> list[PathInFile]:
    path = found.path
    for key in found.wanted:
        if key in found.value:
            continue
        findings.damage((*path, key))
        if findings.has_unknown_keys(path) and _looks_misspelt(key, found.value, found.schema):
            continue  # the unknown key is the problem, and was reported
        below = _keys_at_the_level_of((*path, key), findings)
        about = found.schema.get("properties", {}).get(key, {})
        examples = about.get("examples") or resolved(about).get("examples") or []
        advice = (
            f"add `{key}: {examples[0]}`" if examples and isinstance(examples[0], str) else f"add `{key}:`"
        )
        if below:
            dash = "- " if path and isinstance(path[-1], int) else ""
            advice = f"write `{dash}{key}:` above {quoted(below[0])}, and indent its keys below it"
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


def is_key_of_the_language(name: str) -> bool:
    """Whether some map of the language has a key of this name."""
    return name in _keys_and_homes()


@cache
def _keys_and_homes() -> Mapping[str, tuple[str, ...]]:
    """The names of the maps that may have each key of the language."""
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
    """A part of the schema merged with the part that it refers to; its own keywords take precedence."""
    return {**part(about["$ref"], schema()), **about} if "$ref" in about else about


def _without(data: Any, paths: Iterable[PathInFile]) -> Any:
    """A copy of the data without the values at `paths`; in lists None replaces them, so that indexes
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
