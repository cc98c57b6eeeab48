"""Answers of registries: documented errors only, no hang, and never a wrong byte under a digest."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from containers.errors import ExplainedError
from containers.image.config import ImageConfig
from containers.image.manifests import parse_config
from containers.patience import ServerPatience
from containers.registry.client import RegistryRepository
from containers.registry.mirrors import Place
from containers.registry.references import parse_reference
from containers.store.pull import WantedImage, pull
from containers.store.store import ImageStore
from tests.fuzz.layers import require_documented
from tests.fuzz.mutation import EDITS, edited, json_bytes, mutated
from tests.fuzz.sandbox import Sandbox, watch
from tests.fuzz.target import Check, Target
from tests.fuzz.wire import FRAMING, HEADERS, ORIGIN, OTHER, STATUS, Wire, answer_bytes
from tests.oci_images import INDEX_TYPE, MANIFEST_TYPE, File, Image, digest_of, index_of, tar_of

_IMAGE = Image(
    [tar_of([File("a", b"one")]), tar_of([File("b", b"two" * 5000)])], {"Env": ["A=1"], "Cmd": ["/a"]}
)
_MANIFEST, _CONFIG, _STORED = _IMAGE.blobs()
_INDEX = index_of(
    [
        (_MANIFEST, {"os": "linux", "architecture": "amd64"}),
        (_MANIFEST, {"os": "linux", "architecture": "arm64"}),
    ]
)
_BLOBS = {digest_of(blob): blob for blob in (_MANIFEST, _CONFIG, _INDEX, *_STORED)}
_CONTENTS = (b"one", b"two" * 5000)
_PASSWORD = "correct-horse-battery"
_PATIENCE = ServerPatience(timeout_s=1.0, attempts=3, first_pause_s=0.001, longest_pause_s=0.002)

_CHALLENGES = st.sampled_from(
    [
        f'Bearer realm="{ORIGIN}/token",service="s",scope="repository:i:pull"',
        f'Bearer realm="{OTHER}/token",service="s"',
        f'Bearer realm="{ORIGIN}/token?a=b",service="\\"x"',
        *(
            'Bearer realm="http://["',
            'Bearer realm="file:///etc/passwd"',
            "Bearer",
            "Bearer realm=",
            "",
            "Digest x=y",
        ),
        *(
            "Basic realm=x",
            'Bearer realm="https://127.0.0.1:1/"',
            'Bearer realm="http://a..b/t"',
            "Bearer " + "a=b," * 9000,
        ),
        'Bearer realm="' + "\\" * 60_000,
    ]
)
_TOKEN = mutated([{"token": "abc"}, {"access_token": "abc", "expires_in": 300}]).map(json_bytes)
_ANSWERS = {
    "status": STATUS,
    "framing": FRAMING,
    "headers": HEADERS,
    "edits": EDITS,
    "swap": st.sampled_from(sorted(_BLOBS)),
}
_DAMAGE = st.lists(
    st.one_of([st.tuples(st.just(key), values) for key, values in _ANSWERS.items()]), min_size=1, max_size=2
).map(dict)
CASES = st.fixed_dictionaries(
    {
        "version": st.sampled_from(["latest", digest_of(_MANIFEST), digest_of(_INDEX)]),
        "damage": st.lists(
            st.tuples(st.sampled_from(["manifest", "blob", "token", "any"]), st.integers(0, 3), _DAMAGE).map(
                list
            ),
            max_size=3,
        ),
    },
    optional={
        "manifest": mutated([json.loads(_MANIFEST), json.loads(_INDEX)]).map(json_bytes),
        "config": mutated([json.loads(_CONFIG)]).map(json_bytes),
        "challenge": _CHALLENGES,
        "token": _TOKEN,
        "login": st.booleans(),
    },
)


class _Registry:
    """Serves the image, with the damage that a case wants for the n-th answer of a kind."""

    def __init__(self, case: Any, wire: Wire, other: Wire) -> None:
        self._case = case
        self._wire = wire
        self._other = other
        self._counts = {kind: itertools.count() for kind in ("manifest", "blob", "token", "any")}
        self._authorized = "challenge" not in case
        self.tagged = case.get("manifest", _INDEX)
        self.blobs = dict(_BLOBS)
        if "config" in case:
            manifest = json.loads(_MANIFEST)
            config = case["config"]
            manifest["config"] |= {"digest": digest_of(config), "size": len(config)}
            self.tagged = json.dumps(manifest).encode()
            self.blobs[digest_of(config)] = config
        self.blobs[digest_of(self.tagged)] = self.tagged

    def answer(self, path: str, head: bytes) -> bytes | None:
        kind = "token" if "/token" in path else "blob" if "/blobs/" in path else "manifest"
        given: dict[str, Any] = {"headers": []}
        version = path.partition("?")[0].rpartition("/")[2]
        if kind == "token":
            given["body"] = self._case.get("token", b'{"token": "t"}')
            self._authorized = True
        elif not self._authorized:
            given |= {
                "status": 401,
                "body": b"{}",
                "headers": [["WWW-Authenticate", self._case["challenge"]]],
            }
        elif (content := self.tagged if version == "latest" else self.blobs.get(version)) is None:
            given |= {"status": 404, "body": b'{"errors": [{"message": "none"}]}'}
        else:
            given["body"] = content
            if kind == "manifest":
                form = INDEX_TYPE if b'"manifests"' in content[:2000] else MANIFEST_TYPE
                given["headers"] = [["Content-Type", form]]
            if (start := head.lower().partition(b"range: bytes=")[2].partition(b"-")[0]).isdigit():
                given |= {"status": 206, "body": content[int(start) :]}
                given["headers"] = [
                    ["Content-Range", f"bytes {int(start)}-{len(content) - 1}/{len(content)}"]
                ]
        number, of_any = next(self._counts[kind]), next(self._counts["any"])
        for of, at, damage in self._case["damage"]:
            if (of, at) in ((kind, number), ("any", of_any)):
                more = dict(damage)
                given["body"] = edited(
                    self.blobs[more.pop("swap")] if "swap" in more else given["body"], more.pop("edits", ())
                )
                given["headers"] = given["headers"] + more.pop("headers", [])
                given |= more
        return answer_bytes(
            given,
            self._wire.origin,
            f"http://localhost:{self._other.port}",
            head_only=head.startswith(b"HEAD"),
        )


@contextmanager
def _registry(folder: Path) -> Iterator[Check]:
    watch()
    sandbox = Sandbox(folder)
    wire, other = Wire(), Wire()
    other.answer = lambda _path, _head: b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"token": "t"}'
    reference = parse_reference(f"127.0.0.1:{wire.port}/some/image")

    def check(case: Any) -> None:
        registry = _Registry(case, wire, other)
        wire.answer = registry.answer
        wire.requests.clear()
        other.requests.clear()

        def opened() -> RegistryRepository:
            login = (lambda _host: ("user", _PASSWORD)) if case.get("login") else None
            return RegistryRepository(
                wire.origin, "some/image", "image fuzz", credentials=login, patience=_PATIENCE
            )

        wanted = WantedImage(reference, [Place(wire.origin, True, opened)], "", "amd64")
        with sandbox.running() as work:
            images = ImageStore(work)
            try:
                opened().read_digest(case["version"])
            except ExplainedError as error:
                require_documented(error)
            try:
                with pull(wanted, case["version"], images, lambda _message, _fields: None) as root:
                    _require_right(root.path, root.digest, root.config, case, registry)
            except ExplainedError as error:
                require_documented(error)
            left = sorted(path.name for path in images.folder.iterdir() if path.name.startswith("tmp-"))
            assert not left, f"left behind: {left}"
        assert len(wire.requests) < 200, f"{len(wire.requests)} requests for one image"
        # A registry may send the client anywhere; the password must not go along.
        import base64

        secret = base64.b64encode(f"user:{_PASSWORD}".encode())
        assert not any(secret in request for request in other.requests), "the password went to a stranger"

    try:
        yield check
    finally:
        wire.close()
        other.close()


def _require_right(root: Path, digest: str, config: ImageConfig, case: Any, registry: _Registry) -> None:
    """What was unpacked is what the digests stand for."""
    manifest = registry.blobs.get(digest)
    if manifest is None:  # a tag's manifest was damaged on its way: it stands for itself
        assert case["version"] == "latest", "an image under a digest that nobody has"
    else:
        assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == digest
        named = json.loads(manifest)["config"]["digest"]
        assert config == parse_config(registry.blobs[named], "amd64", "it")[0], "another configuration"
    for path in (root / "a", root / "b"):
        if path.exists():
            assert path.read_bytes() in _CONTENTS, "content that no layer has"


TARGET = Target("registry", CASES, _registry)
