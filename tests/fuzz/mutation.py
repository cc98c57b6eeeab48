"""Damage to bytes and to JSON documents, as Hypothesis draws it."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.unit.fdl_schemas.test_properties import places

# What no Python object can hold or `json.dumps` cannot write: `json_bytes` puts it into the text.
DEEP, CLOSED, DIGITS, HUGE = "@deep@", "@closed@", "@digits@", "@huge@"
_WRITTEN = {
    f'"{DEEP}"': "[" * 100_000,
    f'"{CLOSED}"': "[" * 2000 + "]" * 2000,
    f'"{DIGITS}"': "9" * 5000,
    f'"{HUGE}"': '"' + "x" * 70_000 + '"',
}

_HOSTILE: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            1,
            -1,
            2**31,
            2**63,
            2**64,
            10**30,
            1e308,
            float("inf"),
            float("nan"),
            [],
            {},
        ),
        *(
            "",
            "/",
            "..",
            "../../outside/secret",
            "a\0b",
            "\ud83d",
            "\x1b[31m",
            "\n",
            "é",
            "a" * 300,
            "%00",
            "%",
        ),
        *(DEEP, DEEP, CLOSED, CLOSED, DIGITS, HUGE),
    ]
)
_SCALARS = st.one_of(_HOSTILE, st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20))
VALUES = st.one_of(
    _HOSTILE,
    _HOSTILE,
    _SCALARS,
    st.lists(_SCALARS, max_size=3),
    st.dictionaries(st.text(max_size=6), _SCALARS, max_size=3),
)


def json_bytes(document: object) -> bytes:
    """The document as JSON text, with what only text can hold in place of its names."""
    text = json.dumps(document)
    for name, written in _WRITTEN.items():
        text = text.replace(name, written)
    return text.encode()


@st.composite
def mutated(
    draw: st.DrawFn, bases: Sequence[Any], values: st.SearchStrategy[Any] = VALUES, most: int = 3
) -> Any:
    """One of the documents, some of its values replaced, removed, renamed, repeated or moved."""
    document = copy.deepcopy(draw(st.sampled_from(bases)))
    for _ in range(draw(st.integers(1, most))):
        path = draw(st.sampled_from(places(document)))
        if not path:
            continue
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        kind = draw(st.sampled_from(["replace"] * 6 + ["remove", "rename", "repeat", "borrow"]))
        if kind == "replace":
            parent[path[-1]] = draw(values)
        elif kind == "remove":
            del parent[path[-1]]
        elif kind == "borrow":
            other = draw(st.sampled_from(bases))
            for step in draw(st.sampled_from(places(other))):
                other = other[step]
            parent[path[-1]] = copy.deepcopy(other)
        elif kind == "rename" and isinstance(parent, dict):
            parent[draw(st.text(max_size=5))] = parent.pop(path[-1])
        elif isinstance(parent, list):
            parent.extend(copy.deepcopy(parent) * draw(st.integers(1, 3)))
    return document


_NEW = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"\0" * 512, b"\xff" * 16, b"-1", b"[" * 3000, b"9" * 30, b"/../", b"\x80"]),
)
EDITS = st.lists(
    st.one_of(
        # Where in all, how much is cut out, what comes in.
        st.tuples(st.floats(0, 1), st.integers(0, 40), _NEW),
        st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=2)).map(
            lambda pair: (pair[0], len(pair[1]), pair[1])
        ),
    ).map(list),
    max_size=4,
)
"""For `edited`."""


def edited(content: bytes, edits: Sequence[Any]) -> bytes:
    """The content with pieces of it replaced."""
    for share, cut, new in edits:
        at = int(share * len(content))
        content = content[:at] + new + content[at + cut :]
    return content
