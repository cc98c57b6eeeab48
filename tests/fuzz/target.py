"""What a fuzz target is, and how a case is written down so that it can be replayed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis.strategies import SearchStrategy

Check = Callable[[Any], None]
"""Runs one case; whatever it raises is a finding."""


@dataclass(frozen=True)
class Target:
    """One kind of hostile input."""

    name: str
    cases: SearchStrategy[Any]
    """JSON values in which bytes may stand: the reproducer of a finding is the case itself."""
    opened: Callable[[Path], AbstractContextManager[Check]]
    """Sets up what all cases share (servers, images) in an empty folder."""


def encode(case: object) -> str:
    """A case as JSON text."""
    return json.dumps(case, default=_plain, indent=1)


def decode(text: str) -> Any:
    """The case that `encode` wrote."""
    return json.loads(text, object_hook=_bytes)


def _plain(value: object) -> dict[str, str]:
    assert isinstance(value, bytes)
    return {"base64": base64.b64encode(value).decode()}


def _bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if set(value) == {"base64"} else value
