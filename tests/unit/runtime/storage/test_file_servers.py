"""What WebDAV and Onedata must both do."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from containers.errors import ExplainedError
from runtime.storage.contract import CredentialsRefusedError, StoredObject, Upload
from tests.unit.runtime.storage.places import Place, onedata_place, webdav_place
from tests.unit.runtime.storage.servers import Fault

NAMES = ["a b+c.jpg", "ü/ñ.png", "100%.txt", "50%25.txt", "x'\"$(id).txt", "-rf", "a/b/c/d", "~"]


@pytest.fixture(params=["webdav", "onedata"])
def place(request: pytest.FixtureRequest) -> Place:
    make = {"webdav": webdav_place, "onedata": onedata_place}[request.param]
    running = request.getfixturevalue("dav" if request.param == "webdav" else "onedata")
    return make(running)


@pytest.mark.parametrize("name", NAMES)
def test_file_of_any_name_goes_up_and_comes_down(name: str, place: Place, tmp_path: Path) -> None:
    place.upload_all(tmp_path, {f"out/{name}": b"hello"})
    assert place.running.watch.files(temporary=True) == {f"out/{name}": b"hello"}
    assert place.download(f"out/{name}", tmp_path / "down") == [5]
    assert (tmp_path / "down").read_bytes() == b"hello"


def test_folders_are_made_once_and_an_empty_file_is_a_file(place: Place, tmp_path: Path) -> None:
    place.upload(tmp_path, a__b__c=b"", a__b__d=b"d", a__e=b"e")
    assert place.running.watch.files() == {"out/a/b/c": b"", "out/a/b/d": b"d", "out/a/e": b"e"}
    made = [request for request in place.running.watch.requests if request.endswith("/")]
    assert len(made) == 5  # out/a/b, out/a, out; then out/a and out/a/b again


def test_file_that_is_there_is_replaced(place: Place, tmp_path: Path) -> None:
    place.upload(tmp_path, a=b"older and longer")
    place.upload(tmp_path, a=b"newer")
    assert place.running.watch.files(temporary=True) == {"out/a": b"newer"}


def test_folder_that_is_there_is_not_replaced_by_a_file(place: Place, tmp_path: Path) -> None:
    place.upload(tmp_path, a__precious=b"1")
    with pytest.raises(ExplainedError):
        place.upload(tmp_path, a=b"2")
    assert place.running.watch.files(temporary=True) == {"out/a/precious": b"1"}


def test_wrong_credentials_are_told_without_showing_them(place: Place, tmp_path: Path) -> None:
    with pytest.raises(CredentialsRefusedError) as caught:
        place.upload_all(tmp_path, {"out/a": b"1"}, secret="wrong-secret")
    text = str(caught.value)
    assert f"{place.name} (http://127.0.0.1:" in text
    assert "rejected the credentials (HTTP 401" in text
    assert "wrong-secret" not in text
    assert place.running.watch.files(temporary=True) == {}
    with pytest.raises(CredentialsRefusedError):
        place.download("out/a", tmp_path / "down", secret="wrong-secret")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_server_that_fails_twice_is_asked_again(status: int, place: Place, tmp_path: Path) -> None:
    place.running.watch.faults += [Fault("PUT", status), Fault("PUT", status)]
    place.upload(tmp_path, a=b"hello" * 1000)
    assert place.running.watch.files(temporary=True) == {"out/a": b"hello" * 1000}
    place.running.watch.faults += [Fault("GET", status), Fault("GET", status)]
    place.download("out/a", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b"hello" * 1000


def test_server_that_keeps_failing_shows_nothing(place: Place, tmp_path: Path) -> None:
    place.upload(tmp_path, old=b"1")
    place.running.watch.faults += [Fault("PUT", 503, of="-1.part")] * 5
    with pytest.raises(ExplainedError) as caught:
        place.upload(tmp_path, a=b"1" * 100_000, b=b"2", c=b"3")
    assert (caught.value.kind, "HTTP 503" in str(caught.value)) == ("UploadFailed", True)
    assert place.running.watch.files(temporary=True) == {"out/old": b"1"}


def test_failure_of_one_file_shows_none_of_them(place: Place, tmp_path: Path) -> None:
    place.upload(tmp_path, old=b"1")
    place.running.watch.faults.append(Fault("PUT", 418, of="-7.part"))
    with pytest.raises(ExplainedError):
        place.upload(tmp_path, **{f"f{number}": b"x" for number in range(10)})
    assert place.running.watch.files(temporary=True) == {"out/old": b"1"}


def test_no_name_ever_shows_half_a_file(place: Place, tmp_path: Path) -> None:
    contents = {f"f{number}": bytes([number]) * (300_000 + number) for number in range(8)}
    for _ in range(2):
        place.upload(tmp_path, **contents)
    watch = place.running.watch
    watch.look()
    assert watch.seen == {f"out/{name}": {len(content)} for name, content in contents.items()}


@pytest.mark.parametrize("again", [1, 2])
def test_rename_whose_answer_was_lost_is_not_repeated_blindly(
    again: int, place: Place, tmp_path: Path
) -> None:
    place.upload(tmp_path, a=b"older")
    place.running.watch.faults += [Fault(place.rename, 504, after=True, of=place.temporary)] * again
    place.upload(tmp_path, a=b"newer")
    assert place.running.watch.files(temporary=True) == {"out/a": b"newer"}


def test_server_that_is_gone_is_told(place: Place, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ExplainedError) as caught:
            place.upload_all(tmp_path, {"out/a": b"1"}, url=url)
        assert caught.value.kind == "UploadFailed"
        assert "Connection refused" in str(caught.value)
        with pytest.raises(ExplainedError) as caught:
            place.download("out/a", tmp_path / "down", url=url)
        assert caught.value.kind == "DownloadFailed"


def test_missing_file_is_told(place: Place, tmp_path: Path) -> None:
    with pytest.raises(ExplainedError) as caught:
        place.download("out/gone", tmp_path / "down")
    assert caught.value.kind == "InputMissing"
    assert f"{place.name}://out/gone does not exist" in caught.value.cause


@pytest.mark.parametrize("key", ["../a", "a/../../b", "./a", "a//b", ".."])
def test_path_that_leads_elsewhere_is_refused(key: str, place: Place, tmp_path: Path) -> None:
    with pytest.raises(ExplainedError) as caught:
        place.upload_all(tmp_path, {f"out/{key}": b"1"})
    assert caught.value.kind == "OutputName"
    with pytest.raises(ExplainedError) as caught:
        place.download(f"out/{key}", tmp_path / "down")
    assert caught.value.kind == "InputMissing"
    assert place.running.watch.requests == []


def test_size_is_known_before_anything_is_written_and_may_stop_it(place: Place, tmp_path: Path) -> None:
    place.upload(tmp_path, a=b"hello")

    class EnoughError(Exception):
        pass

    def stop(size: int) -> None:
        assert (size, (tmp_path / "down").stat().st_size) == (5, 0)
        raise EnoughError

    with pytest.raises(EnoughError):
        place.connect().download(StoredObject("out", "a"), tmp_path / "down", on_size=stop)


def test_connections_are_used_again(place: Place, tmp_path: Path) -> None:
    storage = place.connect()
    address = storage._server.address
    pool = storage._server._client._direct.connection_from_host(address.host, address.port, address.scheme)
    (tmp_path / "f").write_bytes(b"x")
    storage.upload([Upload(tmp_path / "f", "out", f"f{number}", 1) for number in range(20)])
    assert pool.num_requests > 40
    assert pool.num_connections <= 7


@pytest.mark.parametrize("status", [413, 507])
def test_full_server_is_told_at_once(status: int, place: Place, tmp_path: Path) -> None:
    place.upload(tmp_path, old=b"1")
    before = len(place.running.watch.requests)
    place.running.watch.faults.append(Fault("PUT", status))
    with pytest.raises(ExplainedError) as caught:
        place.upload(tmp_path, a=b"1")
    assert caught.value.kind == "StorageFull"
    assert re.search(rf"has no space left \(HTTP {status}", str(caught.value))
    assert len(place.running.watch.requests) - before <= 4
