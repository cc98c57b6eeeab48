"""Kinds of errors: the same words in logs and results as in code, and which are worth another attempt."""

from __future__ import annotations

import json

import pytest

from containers.errors import ErrorKind, ExplainedError
from runtime.errors import InvocationError
from runtime.logs import reason


def test_a_kind_is_its_word_in_json_and_in_messages() -> None:
    error = ExplainedError("The disk is full", kind=ErrorKind.DISK_FULL)
    assert json.loads(json.dumps(reason(error))) == {"kind": "DiskFull", "error": "The disk is full"}
    assert "a: DiskFull: The disk is full" in str(InvocationError([("a", error)], request_id="r"))
    assert json.dumps({"kind": ExplainedError("x").kind}) == '{"kind": "ExplainedError"}'


@pytest.mark.parametrize("kind", ErrorKind)
def test_only_what_the_deployment_or_the_event_is_to_blame_for_is_not_tried_again(kind: ErrorKind) -> None:
    assert kind.retryable is (kind not in ("Misconfigured", "BadEvent"))


def test_words_are_written_like_the_names_of_the_kinds() -> None:
    others = [kind for kind in ErrorKind if kind.value.upper() != kind.name.replace("_", "")]
    assert others == [ErrorKind.EXPLAINED]
