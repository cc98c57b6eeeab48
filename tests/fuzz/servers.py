"""Answers of storage servers (WebDAV, Onedata, S3): documented errors, no hang, no half-done success."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st

from containers.errors import ExplainedError
from runtime.config import StorageConnection
from runtime.storage import http, s3_keyed
from runtime.storage.contract import Storage, StoredObject, Upload
from runtime.storage.onedata import OnedataStorage
from runtime.storage.s3_keyed import KeyedS3Storage
from runtime.storage.webdav import WebDavStorage
from tests.fuzz.mutation import EDITS, VALUES, edited, json_bytes, mutated
from tests.fuzz.target import Check, Target
from tests.fuzz.wire import FRAMING, HEADERS, STATUS, Wire, answer_bytes

_BODIES = st.one_of(
    st.tuples(
        st.sampled_from(
            [
                b'<multistatus xmlns="DAV:"><response><href>/a</href><propstat><prop><resourcetype>'
                b"<collection/>"
                b"</resourcetype></prop></propstat></response></multistatus>",
                b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>",
                b"<Error><Code>AccessDenied</Code></Error>",
                b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
                b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>",
                b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "cc"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>',
                b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Error><Code>&x;</Code></Error>',
                b"<a>" * 20_000,
                b"content of the file",
                b"",
            ]
        ),
        st.one_of(st.just([]), EDITS),
    ).map(lambda pair: edited(*pair)),
    mutated(
        [
            {"error": {"id": "posix", "details": {"errno": "enoent"}, "description": "none"}},
            {"objectName": "a"},
        ],
        VALUES,
    ).map(json_bytes),
)
_ANSWER = st.fixed_dictionaries(
    {"body": _BODIES}, optional={"status": STATUS, "framing": FRAMING, "headers": HEADERS}
)
CASES = st.fixed_dictionaries(
    {
        "server": st.sampled_from(["webdav", "onedata"] * 3 + ["minio"]),
        "upload": st.booleans(),
        "answers": st.lists(_ANSWER, min_size=1, max_size=6),
    }
)
_CONTENT = b"content of the file"


def _storage(kind: str, origin: str) -> Storage:
    if kind == "webdav":
        return WebDavStorage(
            StorageConnection("webdav.x", {}), {"hostname": origin, "login": "l", "password": "p"}
        )
    if kind == "onedata":
        settings = {"oneprovider_host": origin, "token": "t", "space": "s"}
        return OnedataStorage(StorageConnection("onedata.x", {}), settings)
    keys = {"endpoint": origin, "access_key": "k", "secret_key": "s"}
    return KeyedS3Storage(StorageConnection("minio.x", {}), keys)


@contextmanager
def _servers(folder: Path) -> Iterator[Check]:
    wire = Wire()
    source, target = folder / "source", folder / "target"
    source.write_bytes(_CONTENT)

    def check(case: Any) -> None:
        answers = itertools.cycle(case["answers"])
        wire.requests.clear()
        wire.answer = lambda _path, head: answer_bytes(
            next(answers), wire.origin, "http://127.0.0.1:1", head_only=head.startswith(b"HEAD")
        )
        _store(case)
        assert len(wire.requests) < 200, f"{len(wire.requests)} requests"

    def _store(case: Any) -> None:
        try:
            storage = _storage(case["server"], wire.origin)
            if case["upload"]:
                storage.upload([Upload(source, "b", "d/e/file.txt", len(_CONTENT))])
                assert any(_CONTENT in request for request in wire.requests), (
                    "reported as sent, and never sent"
                )
            else:
                size = storage.download(
                    StoredObject("b", "d/file.txt", provider="x"), target, on_size=lambda _size: None
                )
                assert target.stat().st_size == size
                whole = [
                    one for one in case["answers"] if one.get("framing") not in ("cut", "long", "bad-chunk")
                ]
                assert whole, "an answer that was cut off counts as whole"
        except ExplainedError as error:
            text = str(error)
            assert len(text) < 4000, f"an error text of {len(text)} characters"
            assert text.isprintable(), f"an error text with control characters: {text!a:.300}"

    try:
        with (
            mock.patch.object(
                http, "PATIENCE", replace(http.PATIENCE, first_pause_s=0.001, longest_pause_s=0.001)
            ),
            mock.patch.object(s3_keyed, "ATTEMPTS", 1),
            mock.patch.dict(os.environ, {"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}),
        ):
            yield check
    finally:
        wire.close()


TARGET = Target("servers", CASES, _servers)
