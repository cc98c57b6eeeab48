"""FDL text: a workflow or diagnostics, as the property tests ask (`tests/unit/fdl_schemas`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.fuzz.mutation import EDITS, edited
from tests.fuzz.sandbox import Sandbox, watch
from tests.fuzz.target import Check, Target
from tests.unit.fdl_schemas.test_load import EVERY_KEY, VIDEO_PROCESS
from tests.unit.fdl_schemas.test_properties import VALUES, judge, mutated_documents, valid_documents


def _yaml(document: Any) -> bytes:
    return yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass")


_TEXTS = st.one_of(
    mutated_documents().map(_yaml),
    valid_documents().map(_yaml),
    VALUES.map(_yaml),
    st.sampled_from([EVERY_KEY.encode(), VIDEO_PROCESS.encode()]),
    st.sampled_from(
        [
            b"[" * 5000,
            b"- " * 5000,
            b"? " * 3000,
            b"a: &a [*a, *a]\n",
            b"{" * 300 + b"}" * 300,
            b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30)),
            b"a0: &a0 [x]\n"
            + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
            b"x: " + b"9" * 6000,
            b"functions: {aws: [" + b"{lambda: {name: f, container: {image: a}}}," * 400 + b"]}",
            b"\xff\xfe" + EVERY_KEY.encode("utf-16-le"),
        ]
    ),
)


@contextmanager
def _fdl(folder: Path) -> Iterator[Check]:
    watch()
    sandbox = Sandbox(folder)

    def check(case: Any) -> None:
        with sandbox.running() as work:
            judge(edited(case["text"], case["edits"]), work)

    yield check


TARGET = Target("fdl", st.fixed_dictionaries({"text": _TEXTS, "edits": st.one_of(st.just([]), EDITS)}), _fdl)
