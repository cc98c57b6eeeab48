"""One case of the contract: the event, and the expected result in each environment."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.unit.runtime.event_shapes import s3_event

ASSEMBLED = "emulator cloud batch"
LAMBDA = "emulator cloud"
PULLED = "namespaces fakechroot"
Text = str | re.Pattern[str]

STATIC_ONLY = "fakechroot reaches only programs that are linked dynamically, with a C library that it knows"


@dataclass(frozen=True)
class Expected:
    """`says`: the output (a pattern must match all of it). `fails`: a pattern in the error; None: the run
    succeeds. `files`: the files in the output folder of the bucket afterwards; None: it must not exist."""

    says: Text | None = None
    fails: str | None = None
    files: Mapping[str, bytes | None] = field(default_factory=dict)
    because: str = ""
    """Why this environment differs, for the table."""


@dataclass(frozen=True)
class Case:
    """The keys of `differs` are environments, separated by spaces. Cases with `in_batch` also run in Batch,
    where each needs a separate container."""

    name: str
    event: Mapping[str, Any]
    expected: Expected
    differs: Mapping[str, Expected] = field(default_factory=dict)
    image: str = "debian"
    inputs: Mapping[str, bytes | None] = field(default_factory=dict)
    """Objects that the event refers to, by their keys; None: the object is missing."""
    in_batch: bool = False

    def event_for(self, bucket: str) -> dict[str, Any]:
        """The event, with the records of the input files."""
        return {**(s3_event(bucket, *self.inputs) if self.inputs else {}), **self.event}

    def runs_in(self, environment: str) -> bool:
        """Whether the case runs in this environment."""
        return self.in_batch or environment != "batch"

    def expected_in(self, environment: str) -> Expected:
        """The expected result in this environment."""
        for names, expected in self.differs.items():
            if environment in names.split():
                return expected
        if environment == "fakechroot" and self.image != "debian":
            return Expected(fails="EngineUnsuitable", because=STATIC_ONLY)
        return self.expected


def script(name: str, text: str | bytes, says: Text | None = None, **more: Any) -> Case:
    """A script in the event, for `/bin/sh` unless it has a `#!` line."""
    if isinstance(text, str):
        text = (text if text.startswith("#!") else f"#!/bin/sh\n{text}\n").encode()
    return _case(name, {"script": base64.b64encode(text).decode()}, says, **more)


def program(name: str, arguments: Sequence[str] | None, says: Text | None = None, **more: Any) -> Case:
    """Arguments that replace the image's command; None: the event has no arguments."""
    return _case(name, {} if arguments is None else {"cmd_args": list(arguments)}, says, **more)


def _case(
    name: str,
    event: Mapping[str, Any],
    says: Text | None,
    *,
    fails: str | None = None,
    files: Mapping[str, bytes | None] | None = None,
    also: Mapping[str, Any] | None = None,
    differs: Mapping[str, Expected] | None = None,
    **more: Any,
) -> Case:
    expected = Expected(says, fails, files or {})
    return Case(name, {**(also or {}), **event}, expected, differs or {}, **more)


def matching(pattern: str) -> re.Pattern[str]:
    """For `says`."""
    return re.compile(pattern, re.DOTALL)
