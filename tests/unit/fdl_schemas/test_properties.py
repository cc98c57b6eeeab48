"""Whatever the file: a workflow or diagnostics, never a traceback, never a hang.

`FDL_EXAMPLES=10000 pytest tests/unit/fdl_schemas/test_properties.py` looks longer.
"""

from __future__ import annotations

import copy
import os
import re
import string
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdl_schemas.diagnostics.diagnostic import render
from fdl_schemas.diagram.diagram import diagram
from fdl_schemas.diagram.direction import best_direction
from fdl_schemas.diagram.dot import dot
from fdl_schemas.diagram.mermaid import mermaid
from fdl_schemas.graph import edges
from fdl_schemas.load import CheckResult, check, check_text
from fdl_schemas.reading.schema import schema
from tests.unit.fdl_schemas.test_load import EVERY_KEY, VIDEO_PROCESS

EXAMPLES = int(os.environ.get("FDL_EXAMPLES", "60"))
LONGEST_S = 5.0
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

KEYS = sorted(
    {name for about in schema()["$defs"].values() for name in about.get("properties", {})}
    | {"functions", "aws", "oscar", "storage_providers", "<<", "Variables", "=", ""}
)
WORDS = st.sampled_from(
    [
        *KEYS,
        *("s3", "minio.lab", "b", "bucket/in", "bucket", "../x", "s3://x", "/", "a//b", "yes", "on", "1024"),
        *("~", "2026-01-01", "1e9", "*x", "&x", "!!int", "é"),
        *("\t", "\x00", "\ud83d", "", "f\n", "a" * 300),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    WORDS,
    st.text(max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), inner, max_size=4),
    ),
    max_leaves=12,
)
BASES = [yaml.safe_load(EVERY_KEY), yaml.safe_load(VIDEO_PROCESS)]


def judge(content: bytes, folder: Path) -> CheckResult:
    """Checks a file, and what holds for every file."""
    (folder / "s.sh").touch()
    file = folder / "w.yaml"
    file.write_bytes(content)
    start = time.perf_counter()
    result = check(file)
    text = render(result.diagnostics)
    assert time.perf_counter() - start < LONGEST_S
    assert (result.workflow is None) == bool(result.errors)
    for found in result.diagnostics:
        assert found.message
        if found.line is not None:
            assert found.source_line is not None
            assert found.column is not None
            assert found.column <= len(found.source_line) + 1
    assert text.replace("\n", "").isprintable() or not text
    if result.workflow is not None:
        names = [function.name for function in result.workflow.functions]
        assert len(names) == len(set(names))
        assert all(
            function.container.image or function.container.image_file
            for function in result.workflow.functions
        )
        assert {
            name
            for pair in edges((*result.workflow.functions, *result.workflow.oscar_services))
            for name in pair
        } <= set(names) | {service.name for service in result.workflow.oscar_services}
    return result


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(data, dict):
        for key, value in data.items():
            found += places(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            found += places(value, (*path, index))
    return found


@st.composite
def mutated_documents(draw: st.DrawFn) -> Any:
    data = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 5))):
        path = draw(st.sampled_from([place for place in places(data) if place]))
        parent = data
        for step in path[:-1]:
            parent = parent[step]
        kind = draw(st.sampled_from(["replace", "remove", "rename", "repeat"]))
        if kind == "replace":
            parent[path[-1]] = draw(VALUES)
        elif kind == "remove":
            del parent[path[-1]]
        elif isinstance(parent, dict):
            value = parent.pop(path[-1])
            new = path[-1][:-1] if kind == "rename" else draw(st.sampled_from(KEYS))
            parent[new] = value
        else:
            parent.append(copy.deepcopy(parent[path[-1]]))
        if len(places(data)) < 2:
            break
    return data


@SETTINGS
@given(mutated_documents())
def test_mutated_documents(tmp_path: Path, data: Any) -> None:
    judge(yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass"), tmp_path)


@SETTINGS
@given(mutated_documents())
def test_pictures_of_mutated_documents(tmp_path: Path, data: Any) -> None:
    (tmp_path / "s.sh").touch()
    content = yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass")
    draft = check_text(content, tmp_path / "w.yaml").draft
    if draft is not None:
        drawn = diagram(draft, "w")
        direction = best_direction(drawn)
        # Each label is XML, as the parser of Graphviz expects it, and there are no other statements.
        statements = re.findall(r"^    n(\d+) (-> n\d+ )?\[(.*)\]$", dot(drawn, direction), re.MULTILINE)
        assert len(statements) == len(drawn.nodes) + len(drawn.edges)
        nodes = [body for _, arrow, body in statements if not arrow]
        for node, body in zip(drawn.nodes, nodes, strict=True):
            label = ET.fromstring(f"<label>{body.partition('label=<')[2].removesuffix('>')}</label>")
            shown = "".join(label.itertext())
            assert len(node.title) > 36 or shown.startswith(node.title)
        text = mermaid(drawn, direction)
        assert text.isascii() or text.replace("\n", "").isprintable()


@SETTINGS
@given(VALUES)
def test_random_values(tmp_path: Path, data: Any) -> None:
    judge(yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass"), tmp_path)


@SETTINGS
@given(
    st.text(alphabet=string.ascii_letters[:3] + " \n\t:-?[]{}&*!|>'\"%@`#,<01~.\\\r\x85\u2028é", max_size=120)
)
def test_random_yaml(tmp_path: Path, text: str) -> None:
    judge(text.encode(), tmp_path)


@SETTINGS
@given(st.binary(max_size=200))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    judge(content, tmp_path)


@SETTINGS
@given(st.data())
def test_damaged_text(tmp_path: Path, data: st.DataObject) -> None:
    text = bytearray(data.draw(st.sampled_from([EVERY_KEY, VIDEO_PROCESS])).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        piece = data.draw(
            st.sampled_from(
                [b"", b"\t", b"\n", b":", b"- ", b"  ", b"'", b"[", b"{", b"&a ", b"*a", b"\xff", b"#"]
            )
        )
        text[at : at + data.draw(st.integers(0, 3))] = piece
    judge(bytes(text), tmp_path)


NAMES = st.text(alphabet="abc-_XY1", min_size=1, max_size=10)
FOLDERS = st.lists(st.sampled_from(["in", "out", "a b", "ü", "x.y"]), max_size=3).map("/".join)
STORAGE = st.builds(
    lambda bucket, folder, suffix: {"path": f"{bucket}/{folder}", **({"suffix": suffix} if suffix else {})},
    st.sampled_from(["scar-video", "scar-images", "scar-results"]),
    FOLDERS,
    st.lists(st.sampled_from(["jpg", "png"]), max_size=2),
)


@st.composite
def valid_documents(draw: st.DrawFn) -> Any:
    entries = []
    for index, name in enumerate(draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))):
        mode = draw(st.sampled_from(["lambda", "batch"]))
        settings_: dict[str, Any] = {
            "name": name,
            "execution_mode": mode,
            "memory": draw(st.integers(128, 10240)),
            "timeout": draw(st.integers(20, 900)),
            "ephemeral_storage": draw(st.integers(512, 10240)),
            "log_level": draw(st.sampled_from(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])),
            "container": {
                "image": draw(st.sampled_from(["a", "grycap/ffmpeg:1", "quay.io/x/y@sha256:" + "0" * 64]))
            },
            "input": [{"path": f"inputs/{index}-{number}"} for number in range(draw(st.integers(0, 3)))],
            "output": draw(st.lists(STORAGE, max_size=3)),
        }
        entry: dict[str, Any] = {"lambda": settings_}
        if mode == "batch":
            entry["batch"] = {"vcpus": draw(st.sampled_from([0.25, 0.5, 1, 2, 4, 8, 16]))}
        entries.append(entry)
    return {"functions": {"aws": entries}}


@SETTINGS
@given(valid_documents())
def test_valid_documents_load(tmp_path: Path, data: Any) -> None:
    result = judge(yaml.safe_dump(data, allow_unicode=True).encode(), tmp_path)
    assert result.diagnostics == ()
    assert result.workflow is not None
    assert [function.memory_mib for function in result.workflow.functions] == [
        entry["lambda"]["memory"] for entry in data["functions"]["aws"]
    ]
