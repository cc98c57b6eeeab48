from __future__ import annotations

from pathlib import Path

import pytest

from containers.errors import ExplainedError
from runtime.config import StorageConnection
from runtime.storage.http import ServerAnswer
from runtime.storage.onedata import OnedataStorage, _understand
from tests.unit.runtime.storage.places import onedata_place
from tests.unit.runtime.storage.servers import TOKEN, Running, posix


@pytest.mark.parametrize("name", ["a?b#c;d&e", "x.cdmio", "x.cdmic"])
def test_name_is_neither_a_query_nor_a_command(name: str, onedata: Running, tmp_path: Path) -> None:
    onedata_place(onedata).upload_all(tmp_path, {f"out/{name}": b'{"move": "/"}'})
    assert onedata.watch.files(temporary=True) == {f"out/{name}": b'{"move": "/"}'}


def test_space_that_is_not_there_is_told(onedata: Running, tmp_path: Path) -> None:
    settings = {"oneprovider_host": onedata.url, "token": TOKEN, "space": "Other"}
    storage = OnedataStorage(StorageConnection("onedata.eosc", {}), settings)
    place = onedata_place(onedata)
    place.connect = lambda: storage
    with pytest.raises(ExplainedError) as caught:
        place.upload(tmp_path, a=b"1")
    assert "Operation failed with POSIX error: enoent." in str(caught.value)


@pytest.mark.parametrize("space", ["..", "", "a//b", "../cdmi_objectid"])
def test_bad_space_is_refused(space: str) -> None:
    with pytest.raises(ExplainedError) as caught:
        OnedataStorage(
            StorageConnection("onedata.eosc", {}), {"oneprovider_host": "h", "token": "t", "space": space}
        )
    assert caught.value.kind == "Misconfigured"


@pytest.mark.parametrize(
    ("errno", "status"), [("eacces", 403), ("enospc", 507), ("edquot", 507), ("enoent", 404), ("eio", 400)]
)
def test_posix_errors_mean_what_http_says(errno: str, status: int) -> None:
    import json

    code, body = posix(errno)
    answer = _understand(ServerAnswer(code, {}, json.dumps(body).encode()))
    assert (answer.status, answer.detail) == (status, f"Operation failed with POSIX error: {errno}.")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error": 1}', b'{"error": {"details": {"errno": []}}}', b"[" * 60_000]
)
def test_error_of_any_shape_keeps_its_status(body: bytes) -> None:
    assert _understand(ServerAnswer(400, {}, body)).status == 400
