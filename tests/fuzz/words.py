"""Names, addresses and lists of mirrors, as FDL files, variables and events carry them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from containers.errors import ExplainedError
from containers.registry.mirrors import places_for
from containers.registry.references import parse_reference
from runtime.storage.address import ServerAddress, encoded_path
from runtime.workspace import file_name
from tests.fuzz.mutation import EDITS, edited
from tests.fuzz.target import Check, Target

_SEEDS = st.sampled_from(
    [
        *(
            "debian",
            "docker.io/grycap/ffmpeg:1.0",
            "r.test:5000/a/b@sha256:" + "0" * 64,
            "[::1]:5000/a",
            "[:::]/a",
        ),
        *(
            "localhost/a",
            "127.0.0.1:99999/a",
            "A.b/c",
            "docker.io=https://m.test/p",
            "docker.io=file:///f",
            "a=http://[",
        ),
        *(
            "docker.io=http://m.test:x",
            "https://dav.test:8443/remote.php/dav",
            "host:99999",
            "[::1]",
            "s3://b/p",
            "s3://",
        ),
    ]
)
_PIECES = st.sampled_from(
    [*"/:@[].,=#?% ", "..", "http://", "https://", "\0", "\n", "é", "\uff19", "[::1]", "xn--", "a" * 300]
)
CASES = st.one_of(
    st.tuples(_SEEDS, EDITS).map(lambda pair: edited(pair[0].encode(), pair[1]).decode("utf-8", "replace")),
    st.lists(st.one_of(_SEEDS, _PIECES, st.text(max_size=3)), max_size=6).map("".join),
)


@contextmanager
def _words(_folder: Path) -> Iterator[Check]:
    def check(text: Any) -> None:
        reference = None
        with suppress(ExplainedError):
            reference = parse_reference(text)
            if set(reference.registry) & set(".:"):
                assert parse_reference(str(reference)) == reference
            places_for(reference, None)
        with suppress(ExplainedError):
            places_for(parse_reference("debian"), text)
        with suppress(ExplainedError):
            places_for(parse_reference("debian"), f"docker.io={text}")
        with suppress(ExplainedError):
            address = ServerAddress.parse(text, "address")
            assert ServerAddress.parse(address.url, "address") == address
        with suppress(ValueError):
            assert not {"", ".", ".."} & set(encoded_path(text)[1:].split("/"))
        if text.isprintable() or text.isascii():
            name = file_name(text.replace("\0", "").rpartition("/")[2])
            assert name not in ("", ".", "..")
            assert 0 < len(name.encode()) <= 255

    yield check


TARGET = Target("words", CASES, _words)
