"""What registries, mirrors and archives say appears in messages short, on one line, and without control
characters."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from containers.errors import ExplainedError
from containers.image.layout import LayoutFolder
from containers.image.manifests import choose_platform, parse_config, parse_descriptor
from containers.image.origin import find_image
from containers.patience import ServerPatience
from containers.registry.client import RegistryRepository
from containers.registry.ranges import FileSource
from containers.store.archive import find_in_archive
from tests.oci_images import File, tar_of
from tests.registry_server import Answer, Request, ScriptedServer

QUICK = ServerPatience(timeout_s=2, attempts=2, first_pause_s=0.01, longest_pause_s=0.05)
HOSTILE = "\x1b[2J\x1b]0;title\x07\r\n\u202e\u200b\x9b31m" + "A" * 800_000
LONGEST = 4200


def assert_fit_for_a_terminal(message: str) -> None:
    assert len(message) < LONGEST
    assert message.isprintable(), [one for one in message if not one.isprintable()]
    assert "\u202e" not in message


def registry_that(answer: Callable[[Request], Answer]) -> ExplainedError:
    with ScriptedServer(answer) as server, pytest.raises(ExplainedError) as caught:
        opened = RegistryRepository(server.address, "a", "image a", patience=QUICK)
        find_image(opened, "latest", "amd64", "image a").load_config()
    return caught.value


@pytest.mark.parametrize("status", [401, 403, 404, 400, 500])
@pytest.mark.parametrize("key", ["message", "code"])
def test_the_error_of_a_registry(status: int, key: str) -> None:
    body = json.dumps({"errors": [{key: HOSTILE[:60_000]}]}).encode()
    assert_fit_for_a_terminal(str(registry_that(lambda _: Answer(status, body))))


def test_an_error_that_is_deep_is_left_out() -> None:
    assert_fit_for_a_terminal(str(registry_that(lambda _: Answer(400, b"[" * 60_000))))


def test_a_realm() -> None:
    realm = "https://x/" + HOSTILE[30:50_000].replace("\r\n", "")
    assert_fit_for_a_terminal(
        str(registry_that(lambda _: Answer(401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}"'})))
    )


def index_of(**platform: object) -> dict[str, Any]:
    return {"manifests": [{"platform": platform, "digest": "sha256:" + "0" * 64, "size": 1}]}


def test_the_platforms_of_an_index() -> None:
    for platform in ({"os": HOSTILE, "architecture": "x"}, {"os": "linux", "architecture": HOSTILE}):
        with pytest.raises(ExplainedError) as caught:
            choose_platform(index_of(**platform), "amd64", "image a")
        assert_fit_for_a_terminal(str(caught.value))
    many = {"manifests": [{"platform": {"os": f"os{n}", "architecture": "x"}} for n in range(50_000)]}
    with pytest.raises(ExplainedError) as caught:
        choose_platform(many, "amd64", "image a")
    assert_fit_for_a_terminal(str(caught.value))


@pytest.mark.parametrize("key", ["os", "architecture"])
def test_the_platform_of_a_configuration(key: str) -> None:
    with pytest.raises(ExplainedError) as caught:
        parse_config(json.dumps({key: HOSTILE}).encode(), "amd64", "image a")
    assert_fit_for_a_terminal(str(caught.value))


@pytest.mark.parametrize("size", [2**63])
def test_a_size_that_no_file_has(size: int) -> None:
    with pytest.raises(ExplainedError, match="no valid size"):
        parse_descriptor({"digest": "sha256:" + "0" * 64, "size": size}, "a layer")


def test_the_names_in_a_folder(tmp_path: Path) -> None:
    name = {"org.opencontainers.image.ref.name": HOSTILE}
    entry = {"annotations": name, "digest": "sha256:" + "0" * 64, "size": 1}
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [entry]}))
    with pytest.raises(ExplainedError) as caught:
        LayoutFolder(tmp_path, "image a").read_manifest("latest")
    assert_fit_for_a_terminal(str(caught.value))


def archive_with(document: bytes, tmp_path: Path) -> ExplainedError:
    path = tmp_path / "image.tar"
    path.write_bytes(tar_of([File("manifest.json", document)]))
    with path.open("rb") as file, pytest.raises(ExplainedError) as caught:
        find_in_archive(FileSource(file.fileno()), "amd64", "image archive")
    return caught.value


def test_the_names_in_an_archive(tmp_path: Path) -> None:
    document = json.dumps([{"Config": HOSTILE, "Layers": []}]).encode()
    assert_fit_for_a_terminal(str(archive_with(document, tmp_path)))


def test_an_archive_whose_table_is_too_deep(tmp_path: Path) -> None:
    assert archive_with(b"[" * 500_000, tmp_path).kind == "BadImage"


def test_a_name_in_a_layer(tmp_path: Path) -> None:
    from containers.image.origin import Layer
    from containers.layers.unpack import Unpacker

    layer = tar_of([File("../" + HOSTILE[:20] + "A" * 3000)], tarfile.GNU_FORMAT)
    unpacker = Unpacker(tmp_path, charge=lambda _: None, what="image a")
    with pytest.raises(ExplainedError) as caught:
        unpacker.apply(Layer(len(layer), lambda: io.BytesIO(layer)))
    assert_fit_for_a_terminal(str(caught.value))
