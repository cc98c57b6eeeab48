"""ECR's parts: lifecycle policies, manifests, tokens, and what a repository keeps."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from local_cloud.ecr.lifecycle import expired
from local_cloud.ecr.manifests import InvalidManifestError, parse_manifest
from local_cloud.ecr.repository import BlobPush, Repository, RepositoryError, StoredImage
from local_cloud.ecr.tokens import VALID_S, Tokens
from tests.oci_images import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    File,
    Image,
    descriptor,
    digest_of,
    index_of,
    tar_of,
)

_DAY_MS = 86_400_000


def stored(name: str, age_days: int, *tags: str) -> StoredImage:
    return StoredImage(digest_of(name.encode()), MANIFEST_TYPE, 1, -age_days * _DAY_MS, list(tags))


def rule(priority: int, count: int, *, days: bool = False, **selection: Any) -> dict[str, Any]:
    kind = (
        {"countType": "sinceImagePushed", "countUnit": "days"}
        if days
        else {"countType": "imageCountMoreThan"}
    )
    return {
        "rulePriority": priority,
        "selection": {"tagStatus": "any", **selection, **kind, "countNumber": count},
        "action": {"type": "expire"},
    }


A = stored("a", 1, "prod-1")
B = stored("b", 5, "prod-2", "beta")
C = stored("c", 9)
D = stored("d", 20, "other")


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        ([rule(1, 2)], [C, D]),
        ([rule(1, 7, days=True)], [C, D]),
        ([rule(1, 1, days=True, tagStatus="untagged")], [C]),
        ([rule(1, 1, tagStatus="tagged", tagPrefixList=["prod"])], [B]),
        ([rule(1, 1, days=True, tagStatus="tagged", tagPrefixList=["prod", "beta"])], [B]),
        ([rule(1, 1, days=True, tagStatus="tagged", tagPatternList=["*-2"])], [B]),
        # What a rule has looked at, no later one removes.
        ([rule(2, 1, days=True), rule(1, 5, tagStatus="tagged", tagPrefixList=["prod", "o"])], [C, B, D]),
        ([rule(2, 1, days=True), rule(1, 5, tagStatus="tagged", tagPatternList=["*"])], [C]),
    ],
)
def test_lifecycle_rules(rules: list[dict[str, Any]], gone: list[StoredImage]) -> None:
    found = expired({"rules": rules}, [A, B, C, D], set(), 0)
    assert {image.digest for image in found} == {image.digest for image in gone}


def test_an_image_that_an_index_names_does_not_expire() -> None:
    assert expired({"rules": [rule(1, 1)]}, [A, D], {D.digest}, 0) == []


def manifest(**changes: Any) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(b"c", CONFIG_TYPE),
        "layers": [descriptor(b"l", LAYER_TYPE)],
    }
    return json.dumps({**document, **changes}).encode()


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"[]", MANIFEST_TYPE),
        (b"\xff", MANIFEST_TYPE),
        (manifest(schemaVersion=1), MANIFEST_TYPE),
        (manifest(), "application/vnd.docker.distribution.manifest.v2+json"),
        (manifest(mediaType=""), "text/html"),
        (manifest(config=None), MANIFEST_TYPE),
        (manifest(config={"digest": "sha256:../../../etc/passwd", "size": 1}), MANIFEST_TYPE),
        (manifest(layers="x"), MANIFEST_TYPE),
        (manifest(layers=[{"digest": digest_of(b"l"), "size": "1"}]), MANIFEST_TYPE),
    ],
)
def test_malformed_manifests_are_rejected(content: bytes, media_type: str) -> None:
    with pytest.raises(InvalidManifestError):
        parse_manifest(content, media_type)


@pytest.mark.parametrize(
    ("content", "runs"),
    [
        (manifest(), True),
        (manifest(layers=[descriptor(b"l", "application/vnd.oci.image.layer.v1.tar+zstd")]), False),
        (manifest(layers=[descriptor(b"l", "application/vnd.oci.image.layer.v1.tar")]), False),
        (manifest(config=descriptor(b"{}", "application/vnd.oci.empty.v1+json")), False),
        (index_of([(manifest(), {"os": "linux"})]), False),
    ],
)
def test_what_lambda_takes(content: bytes, runs: bool) -> None:
    assert parse_manifest(content, "").runs_on_lambda is runs


def test_a_token_is_known_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens()
    token, expires_at = tokens.issue("1", "r", "key", is_root=False)
    bearer = tokens.bearer(f"Basic {token}")
    assert bearer is not None and (bearer.account, bearer.region, bearer.access_key) == ("1", "r", "key")
    assert expires_at - time.time() > VALID_S - 60
    password = base64.b64decode(token).decode().partition(":")[2]
    for wrong in (
        f"Basic {token[:-4]}",
        f"Bearer {token}",
        f"Basic {base64.b64encode(password.encode())!r}",
        "",
    ):
        assert tokens.bearer(wrong) is None
    monkeypatch.setattr(time, "time", lambda: expires_at + 1)
    assert tokens.bearer(f"Basic {token}") is None


def put_blob(repository: Repository, folder: Path, content: bytes) -> None:
    upload = BlobPush(folder / "upload")
    upload.write(content)
    repository.add_blob(upload, digest_of(content))


def put(repository: Repository, folder: Path, image: Image, tag: str | None = None) -> StoredImage:
    content, config, layers = image.blobs()
    for blob in (config, *layers):
        put_blob(repository, folder, blob)
    return repository.put_image(content, MANIFEST_TYPE, tag, immutable=False)


def blobs(repository: Repository) -> set[str]:
    return {path.name for path in (repository.folder / "blobs/sha256").iterdir()}


def age(repository: Repository, seconds: float) -> None:
    for path in (repository.folder / "blobs/sha256").iterdir():
        os.utime(path, (time.time() - seconds,) * 2)


SHARED = tar_of([File("shared", b"s")])
ONE, TWO = Image([SHARED, tar_of([File("1")])]), Image([SHARED, tar_of([File("2")])])


def test_blobs_of_removed_images_go_unless_another_image_has_them(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r", "r")
    first, second = put(repository, tmp_path, ONE, "one"), put(repository, tmp_path, TWO, "two")
    age(repository, 7200)
    repository.remove(first)
    kept = {digest_of(blob).partition(":")[2] for blob in (TWO.blobs()[0], TWO.blobs()[1], *TWO.blobs()[2])}
    assert blobs(repository) == kept
    repository.remove(second)
    assert blobs(repository) == set()


def test_blobs_that_a_push_has_just_asked_for_stay_for_a_while(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r", "r")
    image = put(repository, tmp_path, ONE)
    age(repository, 7200)
    layer = digest_of(ONE.blobs()[2][0])
    assert repository.blob(layer) is not None
    repository.remove(image)
    repository.remove_garbage()
    assert blobs(repository) == {layer.partition(":")[2]}
    age(repository, 7200)
    repository.remove_garbage()
    assert blobs(repository) == set()


def test_an_index_is_read_back(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r", "r")
    put(repository, tmp_path, ONE, "a")
    put(repository, tmp_path, ONE, "b")
    put(repository, tmp_path, TWO, "a")
    put(repository, tmp_path, TWO)
    again = Repository(tmp_path / "r", "r").images()
    assert [(image.digest, image.tags) for image in again] == [
        (digest_of(ONE.blobs()[0]), ["b"]),
        (digest_of(TWO.blobs()[0]), ["a"]),
    ]
    assert again == repository.images()


def test_a_manifest_that_cannot_be_written_leaves_no_image(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r", "r")
    content, config, layers = ONE.blobs()
    for blob in (config, *layers):
        put_blob(repository, tmp_path, blob)
    with pytest.raises(RepositoryError, match="unknown to the repository"):
        repository.put_image(TWO.blobs()[0], MANIFEST_TYPE, "x", immutable=False)
    (repository.folder / "index.json").mkdir()  # as a full disk would: the index cannot be replaced
    with pytest.raises(OSError, match="directory"):
        repository.put_image(content, MANIFEST_TYPE, "x", immutable=False)
    assert repository.images() == []
