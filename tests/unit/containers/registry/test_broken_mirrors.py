"""A mirror that is broken in any way is only a mirror that is broken: the next source is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from containers.assembly.source import open_reference
from containers.errors import ExplainedError
from containers.patience import ServerPatience
from containers.registry.client import RegistryRepository
from containers.store import ImageSource, prepare_image
from tests.oci_images import MANIFEST_TYPE, File, Image, tar_of, write_layout
from tests.registry_server import Answer, Request, ScriptedServer

HELLO = Image([tar_of([File("hello", b"1")])])
DEEP = b"[" * 5000
MANIFEST = json.loads(HELLO.blobs()[0])


def manifest(**changes: Any) -> bytes:
    return json.dumps({**MANIFEST, **changes}).encode()


def layer(**changes: Any) -> bytes:
    return manifest(layers=[{**MANIFEST["layers"][0], **changes}])


def is_manifest(request: Request) -> bool:
    return "/manifests/" in request.path


MANIFESTS = {
    "nested without end": DEEP,
    "nested objects": b'{"a":' * 5000,
    "no JSON": b"\xff\x00",
    "a list": b"[]",
    "a number without end": b"9" * 5000,
    "infinite": manifest().replace(b'"schemaVersion": 2', b'"schemaVersion": 1e999'),
    "half a character": b'"\\ud800"',
    "a media type that is a list": manifest(mediaType=[]),
    "layers that are numbers": manifest(layers=[1, 2]),
    "a configuration that is a text": manifest(config="x"),
    "a size that is infinite": layer(size=1).replace(b'"size": 1', b'"size": 1e400'),
    "a size that no disk has": layer(size=10**300),
    "a size of half the address space": layer(size=1 << 62),
    "a digest that is a path": layer(digest="sha256:../../etc/passwd"),
    "an index of itself": json.dumps({"manifests": [{"platform": DEEP.decode()}]}).encode(),
    "platforms that are numbers": json.dumps({"manifests": [1, None, {"platform": 1}, {}]}).encode(),
}


def other(request: Request) -> Answer:
    """A mirror that has the image, but for what is replaced."""
    manifest_, config, layer_ = HELLO.blobs()
    if is_manifest(request):
        return Answer(200, manifest_, {"Content-Type": MANIFEST_TYPE})
    return Answer(200, config if MANIFEST["config"]["digest"] in request.path else layer_[0])


def answering(content: bytes) -> Callable[[Request], Answer]:
    return lambda request: Answer(200, content) if is_manifest(request) else other(request)


def blobs(content: Answer) -> Callable[[Request], Answer]:
    return lambda request: other(request) if is_manifest(request) else content


ANSWERS: dict[str, Callable[[Request], Answer]] = {
    **{f"manifest: {name}": answering(content) for name, content in MANIFESTS.items()},
    "blobs of others": blobs(Answer(200, DEEP)),
    "blobs that are cut": blobs(Answer(200, b"x" * 5000, cut_at=3)),
    "blobs without end": blobs(Answer(200, b"x" * 5_000_000)),
    "redirects to nowhere": lambda _: Answer(307, b"", {"Location": "http://[::1"}),
    "redirects to a name that is none": lambda _: Answer(307, b"", {"Location": "http://" + "a" * 300 + "/"}),
    "redirects to a port that is none": lambda _: Answer(307, b"", {"Location": "http://a:99999999/"}),
    "redirects in circles": lambda request: Answer(307, b"", {"Location": request.path}),
    "redirects to files": lambda _: Answer(307, b"", {"Location": "file:///etc/passwd"}),
    "redirects to text": lambda _: Answer(307, b"", {"Location": "\x7f\x80 \t\xff"}),
    "a token server in this machine": lambda _: Answer(
        401, b"", {"WWW-Authenticate": 'Bearer realm="http://[",service="\xff"'}
    ),
    "a challenge without end": lambda _: Answer(
        401, b"", {"WWW-Authenticate": 'Bearer realm="' + '\\"' * 9000}
    ),
    "errors of nothing": lambda _: Answer(400, b'{"errors": [[]]}'),
    "errors nested without end": lambda _: Answer(403, DEEP),
    "an error of an infinite number": lambda _: Answer(403, b'{"errors": [{"message": 1e999}]}'),
    "a status that is none": lambda _: Answer(999),
    "a wait without end": lambda _: Answer(429, b"", {"Retry-After": "9" * 400}),
    "a wait until nobody knows": lambda _: Answer(503, b"", {"Retry-After": "Mon, 99 Foo 0 0:0:0 X"}),
    "a length that is none": lambda _: Answer(200, b"x", {"Content-Length": "-9"}),
    "chunks that are none": lambda _: Answer(200, b"zz\r\n", {"Transfer-Encoding": "chunked"}, cut_at=4),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_broken_mirror_is_passed_over(answer: Callable[[Request], Answer], tmp_path: Path) -> None:
    write_layout(tmp_path / "good/some/image", {"latest": HELLO})
    with ScriptedServer(answer) as broken:
        root = prepare_image(
            ImageSource.registry("some/image"),
            store=tmp_path / "store",
            mirrors=f"docker.io={broken.address},docker.io=file://{tmp_path}/good",
        )
        assert broken.requests
    with root:
        assert (root.path / "hello").read_bytes() == b"1"


@pytest.mark.parametrize("index", MANIFESTS.values(), ids=MANIFESTS)
def test_a_broken_folder_is_passed_over(index: bytes, tmp_path: Path) -> None:
    write_layout(tmp_path / "good/some/image", {"latest": HELLO})
    write_layout(tmp_path / "broken/some/image", {"latest": HELLO})
    (tmp_path / "broken/some/image/index.json").write_bytes(index)
    with prepare_image(
        ImageSource.registry("some/image"),
        store=tmp_path / "store",
        mirrors=f"docker.io=file://{tmp_path}/broken,docker.io=file://{tmp_path}/good",
    ) as root:
        assert (root.path / "hello").read_bytes() == b"1"


def test_a_mirror_that_speaks_no_tls_is_passed_over(tmp_path: Path) -> None:
    write_layout(tmp_path / "good/some/image", {"latest": HELLO})
    with ScriptedServer(lambda _: Answer(200, b"")) as plain:
        mirrors_ = f"docker.io=https://127.0.0.1:{plain.port},docker.io=file://{tmp_path}/good"
        with prepare_image(
            ImageSource.registry("some/image"), store=tmp_path / "store", mirrors=mirrors_
        ) as root:
            assert (root.path / "hello").read_bytes() == b"1"


def test_an_error_that_nobody_foresaw_is_the_mirrors_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RegistryRepository, "read_manifest", fail)
    write_layout(tmp_path / "good/some/image", {"latest": HELLO})
    told: list[str] = []
    with prepare_image(
        ImageSource.registry("some/image"),
        store=tmp_path / "store",
        mirrors=f"docker.io=http://127.0.0.1:1,docker.io=file://{tmp_path}/good",
        log=lambda message, fields: told.append(f"{message} {dict(fields)}"),
    ) as root:
        assert (root.path / "hello").exists()
    assert any("ZeroDivisionError" in line and "127.0.0.1:1" in line for line in told)


def test_a_mirror_that_is_too_slow_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that runs by itself stands for the time that each piece takes."""
    pieces = iter(range(10**9))
    slow = ServerPatience(timeout_s=5, attempts=2, slowest_bytes_per_s=1 << 40)
    monkeypatch.setattr("containers.registry.mirrors.MIRROR_PATIENCE", slow)
    monkeypatch.setattr("containers.patience.clock", lambda: float(next(pieces)))
    large = Image([tar_of([File("hello", bytes(range(256)) * 40_000)])], compress="none")
    write_layout(tmp_path / "good/some/image", {"latest": HELLO})
    manifest_, config, layer_ = large.blobs()

    def answer(request: Request) -> Answer:
        if is_manifest(request):
            return Answer(200, manifest_, {"Content-Type": MANIFEST_TYPE})
        return Answer(200, config if json.loads(manifest_)["config"]["digest"] in request.path else layer_[0])

    with (
        ScriptedServer(answer) as server,
        prepare_image(
            ImageSource.registry("some/image"),
            store=tmp_path / "store",
            mirrors=f"docker.io={server.address},docker.io=file://{tmp_path}/good",
        ) as root,
    ):
        assert (root.path / "hello").read_bytes() == b"1"


def test_token_server_of_the_registry_itself_that_answers_nonsense_is_a_clear_error() -> None:
    for content in (DEEP, b'{"token": 1e999}', b"9" * 5000, b"\xff"):

        def answer(request: Request, content: bytes = content) -> Answer:
            if request.path.startswith("/token"):
                return Answer(200, content)
            return Answer(
                401, b"", {"WWW-Authenticate": f'Bearer realm="http://{request.headers["Host"]}/token"'}
            )

        with ScriptedServer(answer) as server, pytest.raises(ExplainedError) as caught:
            RegistryRepository(server.address, "some/image", "image test").read_manifest("latest")
        assert caught.value.kind == "BadImage"
        assert "token server" in caught.value.cause


def test_an_error_that_nobody_foresaw_does_not_end_an_assembly_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RegistryRepository, "read_manifest", fail)
    write_layout(tmp_path / "good/some/image", {"latest": HELLO})
    messages: list[str] = []
    with open_reference(
        "some/image",
        "amd64",
        mirrors=f"docker.io=http://127.0.0.1:1,docker.io=file://{tmp_path}/good",
        log=lambda message, _fields: messages.append(message),
    ) as found:
        assert [layer.digest for layer in found.layers] == [MANIFEST["layers"][0]["digest"]]
    assert messages == ["mirror failed"]
