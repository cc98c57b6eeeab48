"""The registry client against a scripted server that does everything wrong that servers do."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from containers.errors import ExplainedError
from containers.http_client import Response
from containers.image.manifests import Descriptor
from containers.image.origin import find_image, read_all
from containers.patience import ServerPatience
from containers.registry.client import RegistryRepository
from containers.registry.transport import HttpStatusError, _redirected
from tests.loopback_aws import LoopbackAws, running
from tests.oci_images import MANIFEST_TYPE, File, Image, digest_of, index_of, tar_of
from tests.registry_server import Answer, Request, ScriptedServer

QUICK = ServerPatience(timeout_s=5, attempts=3, first_pause_s=0.01, longest_pause_s=0.5)
BLOB = bytes(range(256)) * 2000
IMAGE = Image([tar_of([File("a", b"1")])])


def repository(server: ScriptedServer, patience: ServerPatience = QUICK) -> RegistryRepository:
    return RegistryRepository(server.address, "some/image", "image test", patience=patience)


def read_blob(server: ScriptedServer, blob: bytes = BLOB, patience: ServerPatience = QUICK) -> bytes:
    return read_all(repository(server, patience).open_blob(Descriptor("", digest_of(blob), len(blob))))


def failing(call: Callable[[], object]) -> ExplainedError:
    with pytest.raises(ExplainedError) as caught:
        call()
    return caught.value


def ranged(request: Request, cut: int) -> Answer:
    """The blob from where Range says, cut off after `cut` bytes."""
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    headers = {"Content-Range": f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"} if start else {}
    return Answer(206 if start else 200, BLOB[start:], headers, cut_at=cut)


def test_a_cut_connection_is_taken_up_where_it_broke() -> None:
    with ScriptedServer(lambda request: ranged(request, 300_000)) as server:
        assert read_blob(server) == BLOB
        assert [request.headers.get("Range") for request in server.requests] == [None, "bytes=300000-"]


def test_a_server_without_range_is_read_again_from_the_start() -> None:
    cuts = iter([100_000, None])
    with ScriptedServer(lambda _: Answer(200, BLOB, cut_at=next(cuts))) as server:
        assert read_blob(server) == BLOB


def test_a_server_that_always_cuts_early_is_given_up() -> None:
    with ScriptedServer(lambda request: ranged(request, 10)) as server:
        error = failing(lambda: read_blob(server))
        assert error.kind == "RegistryUnavailable"
        assert len(server.requests) == QUICK.attempts


def test_a_wrong_range_is_not_spliced_in() -> None:
    def answer(request: Request) -> Answer:
        if "Range" not in request.headers:
            return Answer(200, BLOB, cut_at=1000)
        return Answer(206, BLOB[5:], {"Content-Range": f"bytes 5-{len(BLOB) - 1}/{len(BLOB)}"})

    with ScriptedServer(answer) as server:
        assert failing(lambda: read_blob(server)).kind == "RegistryUnavailable"


def test_wrong_bytes_are_found_out() -> None:
    with ScriptedServer(lambda _: Answer(200, b"x" * len(BLOB))) as server:
        error = failing(lambda: read_blob(server))
        assert error.kind == "DigestMismatch"
        assert digest_of(BLOB) in error.cause


def test_a_token_that_expires_in_the_middle_of_a_pull_is_replaced() -> None:
    tokens = iter(("first", "second"))

    def answer(request: Request) -> Answer:
        if request.path.startswith("/token"):
            return Answer(200, json.dumps({"token": next(tokens)}).encode())
        valid = "Bearer second" if "Range" in request.headers else "Bearer first"
        if request.headers.get("Authorization") != valid:
            return Answer(401, b"", {"WWW-Authenticate": f'Bearer realm="{server.address}/token"'})
        return ranged(request, 300_000)

    with ScriptedServer(answer) as server:
        assert read_blob(server) == BLOB


def test_a_manifest_that_was_cut_is_asked_for_again() -> None:
    manifest = IMAGE.blobs()[0]
    cuts = iter([10, len(manifest) - 1, None])
    with ScriptedServer(lambda _: Answer(200, manifest, cut_at=next(cuts))) as server:
        assert repository(server).read_manifest("latest")[0] == manifest


def test_a_manifest_that_is_always_cut_is_the_fault_of_the_network() -> None:
    with ScriptedServer(lambda _: Answer(200, IMAGE.blobs()[0], cut_at=10)) as server:
        error = failing(lambda: repository(server).read_manifest("latest"))
        assert len(server.requests) == QUICK.attempts
    assert error.kind == "RegistryUnavailable"


def test_a_manifest_that_is_too_large_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("containers.registry.client.MAXIMUM_DOCUMENT_BYTES", 1000)
    with ScriptedServer(lambda _: Answer(200, b"x" * 1000)) as server:
        assert len(repository(server).read_manifest("latest")[0]) == 1000
    with ScriptedServer(lambda _: Answer(200, b"x" * 1001)) as server:
        error = failing(lambda: repository(server).read_manifest("latest"))
    assert (error.kind, "larger than 1000 bytes" in error.cause) == ("BadImage", True)


@pytest.mark.parametrize("chunk", [b"-1\r\nabc", b"-5\r\nabc", b"zz\r\nabc", b"9\r\nabc"])
def test_a_malformed_body_in_chunks_is_a_clear_error(chunk: bytes) -> None:
    # "Cut" where it ends: the connection is closed then.
    headers = {"Transfer-Encoding": "chunked", "Content-Length": "x"}
    answer = Answer(200, chunk, headers, cut_at=len(chunk))
    with ScriptedServer(lambda _: answer, keep_alive=True) as server:
        error = failing(lambda: find_image(repository(server), "latest", "amd64", "image test"))
    assert error.kind in ("RegistryUnavailable", "BadImage")


@pytest.mark.parametrize(
    "retry_after",
    [
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:28:00 -0000",
        "Wed, 21 Oct 99999999999999 07:28:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 -0000",
        "-5",
        "\u00b2",
        "soon",
    ],
)
def test_a_retry_after_of_any_form_is_survived(retry_after: str) -> None:
    answers = iter([Answer(429, b"", {"Retry-After": retry_after}), Answer(200, b"{}")])
    with ScriptedServer(lambda _: next(answers)) as server:
        assert repository(server).read_manifest("latest")[0] == b"{}"


def test_429_waits_as_asked_and_goes_on() -> None:
    answers = iter([Answer(429, headers={"Retry-After": "0"}), Answer(503), Answer(200, BLOB)])
    with ScriptedServer(lambda _: next(answers)) as server:
        assert read_blob(server) == BLOB


def test_a_pause_is_as_long_as_the_registry_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("containers.registry.transport.time.sleep", pauses.append)
    answers = iter([Answer(429, headers={"Retry-After": "7"}), Answer(503), Answer(200, BLOB)])
    with ScriptedServer(lambda _: next(answers)) as server:
        assert read_blob(server, patience=ServerPatience(first_pause_s=0.01, longest_pause_s=30)) == BLOB
    assert pauses[0] == 7
    assert pauses[1] < 1


@pytest.mark.parametrize("failures", [1, 3, 20, 1000])
def test_pauses_do_not_grow_without_end(failures: int) -> None:
    assert 0.5 <= ServerPatience(first_pause_s=1, longest_pause_s=5).pause_s(failures) <= 5


def test_429_for_long_is_a_pull_limit_at_once() -> None:
    with ScriptedServer(lambda _: Answer(429, headers={"Retry-After": "21600"})) as server:
        error = failing(lambda: read_blob(server))
        assert error.kind == "PullLimit"
        assert "mirror" in error.advice
        assert len(server.requests) == 1


def test_a_registry_that_stays_down_is_named() -> None:
    with ScriptedServer(lambda _: Answer(500)) as server:
        error = failing(lambda: read_blob(server))
        assert (error.kind, len(server.requests)) == ("RegistryUnavailable", QUICK.attempts)
        assert f"127.0.0.1:{server.port}" in error.cause


def test_nobody_listening() -> None:
    with ScriptedServer(lambda _: Answer()) as server:
        pass
    error = failing(lambda: read_blob(server))
    assert error.kind == "RegistryUnavailable"
    assert "container.image_file" in error.advice
    assert "-c registry_mirrors=" in error.advice


def test_a_certificate_of_nobody_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    subprocess.run([*command.split(), "-out", certificate, "-keyout", key], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    pauses: list[float] = []
    monkeypatch.setattr("containers.registry.transport.time.sleep", pauses.append)
    with running(LoopbackAws(), context) as server:
        registry = RegistryRepository(
            f"https://127.0.0.1:{server.port}", "some/image", "image test", patience=QUICK
        )
        error = failing(lambda: registry.read_manifest("latest"))
    assert "presents an untrusted certificate" in error.cause
    assert pauses == []


def test_a_silent_server_is_not_waited_for_for_ever() -> None:
    patience = ServerPatience(timeout_s=0.1, attempts=2, first_pause_s=0.01)
    with ScriptedServer(lambda _: Answer(200, BLOB[:100], {"Content-Length": str(len(BLOB))})) as server:
        assert failing(lambda: read_blob(server, patience=patience)).kind == "RegistryUnavailable"


def test_a_redirect_to_another_server_gets_no_authorization() -> None:
    with ScriptedServer(lambda _: Answer(200, BLOB)) as cdn:

        def answer(request: Request) -> Answer:
            if "token" in request.path:
                return Answer(200, b'{"token": "secret"}')
            if "Authorization" not in request.headers:
                realm = (
                    f'Bearer realm="{registry.address}/token",service="s",scope="repository:some/image:pull"'
                )
                return Answer(401, headers={"WWW-Authenticate": realm})
            return Answer(307, headers={"Location": f"{cdn.address}/blob?signature=1"})

        with ScriptedServer(answer) as registry:
            assert read_blob(registry) == BLOB
        assert registry.requests[-1].headers["Authorization"] == "Bearer secret"
        assert "Authorization" not in cdn.requests[0].headers


def test_a_redirect_within_the_registry_keeps_the_authorization() -> None:
    def answer(request: Request) -> Answer:
        if "token" in request.path:
            return Answer(200, b'{"access_token": "t"}')
        if "Authorization" not in request.headers:
            return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{server.address}/token"'})
        return Answer(200, BLOB) if "moved" in request.path else Answer(302, headers={"Location": "/moved"})

    with ScriptedServer(answer) as server:
        assert read_blob(server) == BLOB


def test_a_server_behind_a_redirect_may_not_ask_for_a_login() -> None:
    def unauthorized(_: Request) -> Answer:
        return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{cdn.address}/token"'})

    with ScriptedServer(unauthorized) as cdn:
        with ScriptedServer(lambda _: Answer(307, headers={"Location": f"{cdn.address}/blob"})) as registry:
            assert failing(lambda: read_blob(registry)).kind == "ImagePrivate"
        assert [request.path for request in cdn.requests] == ["/blob"]


@pytest.mark.parametrize(
    ("url", "location", "followed"),
    [
        ("https://registry.example.org/v2/", "https://cdn.example.net/x", True),
        ("http://registry.example.org/v2/", "http://cdn.example.net/x", True),
        ("http://registry.example.org/v2/", "https://cdn.example.net/x", True),
        ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:6000/x", True),
        ("https://registry.example.org/v2/", "http://cdn.example.net/x", False),
        ("http://registry.example.org/v2/", "http://169.254.169.254/latest/meta-data", False),
        ("http://registry.example.org/v2/", "http://127.0.0.1/x", False),
        ("http://registry.example.org/v2/", "http://[::ffff:10.0.0.1]/x", False),
    ],
)
def test_a_redirect_leads_neither_to_plain_http_nor_inside(url: str, location: str, followed: bool) -> None:
    response = cast(Response, SimpleNamespace(url=url, status=302, headers={}))
    if followed:
        assert _redirected(response, location) == location
    else:
        with pytest.raises(HttpStatusError):
            _redirected(response, location)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"])
def test_a_redirect_to_another_scheme_is_refused(location: str) -> None:
    with ScriptedServer(lambda _: Answer(302, headers={"Location": location})) as server:
        assert failing(lambda: read_blob(server)).kind in ("RegistryError", "RegistryUnavailable")


def test_an_endless_redirect_is_refused() -> None:
    with ScriptedServer(lambda _: Answer(302, headers={"Location": "/again"})) as server:
        assert failing(lambda: read_blob(server)).kind in ("RegistryError", "RegistryUnavailable")
        assert len(server.requests) == 6


def test_the_anonymous_token_is_asked_for_with_service_and_scope() -> None:
    def answer(request: Request) -> Answer:
        if request.path.startswith("/token"):
            return Answer(200, b'{"token": "abc"}')
        if request.headers.get("Authorization") != "Bearer abc":
            parameters = 'service="registry.x",scope="repository:some/image:pull"'
            challenge = f'Bearer realm="{server.address}/token",{parameters}'
            return Answer(401, headers={"WWW-Authenticate": challenge})
        return Answer(200, BLOB)

    with ScriptedServer(answer) as server:
        assert read_blob(server) == BLOB
        asked = next(request for request in server.requests if request.path.startswith("/token"))
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(asked.path).query)
    assert query == {"scope": ["repository:some/image:pull"], "service": ["registry.x"]}
    assert "Authorization" not in asked.headers


def test_basic_credentials_are_used_where_asked_for() -> None:
    expected = "Basic " + base64.b64encode(b"me:secret").decode()

    def answer(request: Request) -> Answer:
        if request.headers.get("Authorization") != expected:
            return Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return Answer(200, BLOB)

    with ScriptedServer(answer) as server:
        known = RegistryRepository(
            server.address, "a", "image a", patience=QUICK, credentials=lambda _host: ("me", "secret")
        )
        assert read_all(known.open_blob(Descriptor("", digest_of(BLOB), len(BLOB)))) == BLOB
        assert failing(lambda: read_blob(server)).kind == "ImagePrivate"


def test_a_token_server_over_plain_http_is_refused_for_a_registry_over_https() -> None:
    remote = RegistryRepository("https://registry.example", "a", "image a")
    error = failing(lambda: remote._token({"realm": "http://169.254.170.2/credentials"}, None))
    assert error.kind == "RegistryError"


@pytest.mark.parametrize("realm", ["", "http://[x", "http://a..b/token", "http://127.0.0.1:no/token"])
def test_a_token_server_without_an_address_is_a_clear_error(realm: str) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
    with ScriptedServer(lambda _: Answer(401, b"", challenge)) as server:
        error = failing(lambda: repository(server).read_manifest("latest"))
    assert error.kind in ("RegistryError", "RegistryUnavailable")


def test_a_token_with_a_line_break_is_refused() -> None:
    def answer(request: Request) -> Answer:
        if "token" in request.path:
            return Answer(200, json.dumps({"token": "a\r\nX-Evil: 1"}).encode())
        return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{server.address}/token"'})

    with ScriptedServer(answer) as server:
        assert failing(lambda: read_blob(server)).kind == "BadImage"


def manifests(documents: dict[str, tuple[bytes, str]]) -> Callable[[Request], Answer]:
    """A registry that has these manifests by tag or digest."""

    def answer(request: Request) -> Answer:
        version = request.path.rpartition("/")[2]
        if version not in documents:
            body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
            return Answer(404, body)
        content, media_type = documents[version]
        return Answer(200, content, {"Content-Type": media_type})

    return answer


def test_a_missing_image_says_so() -> None:
    with ScriptedServer(manifests({})) as server:
        error = failing(lambda: find_image(repository(server), "latest", "amd64", "image test"))
    assert error.kind == "ImageNotFound"
    assert "image test does not exist" in error.cause


@pytest.mark.parametrize("status", [401, 403])
def test_a_private_image_says_so(status: int) -> None:
    with ScriptedServer(lambda _: Answer(status)) as server:
        error = failing(lambda: find_image(repository(server), "latest", "amd64", "image test"))
    assert error.kind == "ImagePrivate"


def test_the_architecture_and_variant_are_chosen_from_an_index() -> None:
    images = {name: IMAGE.blobs()[0] + b" " * n for n, name in enumerate(("amd64", "v7", "v8", "arm64"))}
    index = index_of(
        [
            (images["v7"], {"os": "linux", "architecture": "arm64", "variant": "v7"}),
            (images["v8"], {"os": "linux", "architecture": "arm64", "variant": "v8"}),
            (b"{}", {"os": "unknown", "architecture": "unknown"}),
            (b"{}", {"os": "windows", "architecture": "amd64"}),
            (images["amd64"], {"os": "linux", "architecture": "amd64"}),
        ]
    )
    documents = {digest_of(content): (content, MANIFEST_TYPE) for content in images.values()}
    documents["latest"] = (index, "application/vnd.oci.image.index.v1+json")
    with ScriptedServer(manifests(documents)) as server:
        for architecture, expected in (("amd64", "amd64"), ("arm64", "v8"), ("arm64/v7", "v7")):
            found = find_image(repository(server), "latest", architecture, "image test")
            assert found.digest == digest_of(images[expected])
        error = failing(lambda: find_image(repository(server), "latest", "s390x", "image test"))
    assert error.kind == "WrongArchitecture"
    assert "linux/arm64/v8" in error.cause


def test_a_manifest_that_does_not_match_its_digest_is_refused() -> None:
    manifest = IMAGE.blobs()[0]
    digest = digest_of(manifest)
    with ScriptedServer(manifests({digest: (manifest + b" ", MANIFEST_TYPE)})) as server:
        assert (
            failing(lambda: find_image(repository(server), digest, "amd64", "image test")).kind
            == "DigestMismatch"
        )


def test_schema_1_is_explained() -> None:
    with ScriptedServer(manifests({"latest": (b'{"schemaVersion": 1, "fsLayers": []}', "")})) as server:
        error = failing(lambda: find_image(repository(server), "latest", "amd64", "image test"))
    assert error.kind == "UnsupportedImage"
    assert "schema 1" in error.cause


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"config": {}, "layers": 3}',
        b'{"config": {"digest": "sha256:../../x", "size": 1}, "layers": []}',
        b'{"config": {"digest": 5, "size": 1}, "layers": []}',
        b'{"config": {"digest": "sha256:' + b"0" * 64 + b'", "size": -1}, "layers": []}',
        b"[" * 100_000,
        b" " * (5 << 20),
    ],
)
def test_a_malformed_manifest_is_a_clear_error(content: bytes) -> None:
    with ScriptedServer(manifests({"latest": (content, MANIFEST_TYPE)})) as server:
        assert (
            failing(lambda: find_image(repository(server), "latest", "amd64", "image test")).kind
            == "BadImage"
        )
