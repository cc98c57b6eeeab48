"""ECR: what is pushed shows in the API, survives the cloud, and goes when it is deleted."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cloud import Cloud
from tests.cloud.ecr_images import login, make_image_function, make_repository, push, shell_image, skopeo
from tests.cloud.embedded import CloudUnderTest, Shell, until
from tests.oci_images import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    File,
    Image,
    digest_of,
    index_of,
    push_blob,
    tar_of,
)
from tests.oci_images import push as push_by_protocol


def small_image(text: str = "x") -> Image:
    return Image([tar_of([File("text", text.encode())])])


class Registry:
    """Requests to the registry, with a token."""

    def __init__(self, cloud: CloudUnderTest, *credentials: str) -> None:
        host, self.password = login(cloud, *credentials)
        self.url = f"http://AWS:{self.password}@{host}"
        self._connection = http.client.HTTPConnection(host, timeout=60)

    def send(self, method: str, path: str, body: Any = b"", **headers: str) -> tuple[int, Any, bytes]:
        token = base64.b64encode(f"AWS:{self.password}".encode()).decode()
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body=body, headers={"Authorization": f"Basic {token}", **more})
        answer = self._connection.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.fixture
def registry(cloud: CloudUnderTest) -> Registry:
    return Registry(cloud)


@pytest.fixture
def repository(cloud: CloudUnderTest) -> str:
    return make_repository(cloud)


def blob_files(cloud: CloudUnderTest) -> set[str]:
    return {path.name for path in (cloud.cloud.state / "ecr").rglob("blobs/sha256/*")}


def test_what_is_pushed_shows_in_the_api(cloud: CloudUnderTest) -> None:
    ecr, image = cloud.client("ecr"), small_image()
    pushed = push(cloud, image)
    manifest, config, layers = image.blobs()
    detail = ecr.describe_images(repositoryName=pushed.repository)["imageDetails"][0]
    assert (detail["imageDigest"], detail["imageTags"]) == (pushed.digest, ["v1"])
    assert detail["imageSizeInBytes"] == len(config) + len(layers[0])
    assert detail["imageManifestMediaType"] == MANIFEST_TYPE
    listed = ecr.list_images(repositoryName=pushed.repository)["imageIds"]
    assert listed == [{"imageDigest": pushed.digest, "imageTag": "v1"}]
    got = ecr.batch_get_image(
        repositoryName=pushed.repository, imageIds=[{"imageTag": "v1"}, {"imageTag": "v2"}]
    )
    assert got["images"][0]["imageManifest"].encode() == manifest
    assert got["failures"][0]["failureCode"] == "ImageNotFound"
    missing = digest_of(b"missing")
    layers_there = ecr.batch_check_layer_availability(
        repositoryName=pushed.repository, layerDigests=[digest_of(layers[0]), missing]
    )["layers"]
    assert [layer["layerAvailability"] for layer in layers_there] == ["AVAILABLE", "UNAVAILABLE"]
    assert layers_there[0]["layerSize"] == len(layers[0])
    with pytest.raises(ecr.exceptions.ImageNotFoundException, match="does not exist within the repository"):
        ecr.describe_images(repositoryName=pushed.repository, imageIds=[{"imageTag": "v2"}])


def test_what_is_pushed_by_the_api_can_be_pulled(cloud: CloudUnderTest, repository: str) -> None:
    ecr, image = cloud.client("ecr"), small_image()
    manifest, config, layers = image.blobs()
    with pytest.raises(ecr.exceptions.LayersNotFoundException):
        ecr.put_image(repositoryName=repository, imageManifest=manifest.decode(), imageTag="api")
    for blob in (config, *layers):
        upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
        half = len(blob) // 2
        for first, part in ((0, blob[:half]), (half, blob[half:])):
            ecr.upload_layer_part(
                repositoryName=repository,
                uploadId=upload,
                partFirstByte=first,
                partLastByte=first + len(part) - 1,
                layerPartBlob=part,
            )
        ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest_of(blob)])
    ecr.put_image(repositoryName=repository, imageManifest=manifest.decode(), imageTag="api")
    host, password = login(cloud)
    done = skopeo(
        "inspect", "--tls-verify=false", f"--creds=AWS:{password}", f"docker://{host}/{repository}:api"
    )
    assert json.loads(done.stdout)["Digest"] == digest_of(manifest)


def test_only_a_token_opens_the_registry(cloud: CloudUnderTest, repository: str) -> None:
    host, _ = login(cloud)
    connection = http.client.HTTPConnection(host, timeout=30)
    for headers in ({}, {"Authorization": "Basic QVdTOndyb25n"}, {"Authorization": "Bearer x"}):
        for method, path in (
            ("GET", "/v2/"),
            ("GET", f"/v2/{repository}/tags/list"),
            ("PUT", f"/v2/{repository}/manifests/x"),
        ):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            assert answer.status == 401
            assert answer.headers["Www-Authenticate"].startswith("Basic realm=")
            answer.read()
            connection.close()


def test_a_blob_comes_in_pieces_and_goes_in_ranges(registry: Registry, repository: str) -> None:
    blob = os.urandom(3_000_000)
    status, headers, _ = registry.send("POST", f"/v2/{repository}/blobs/uploads/")
    assert status == 202
    at = headers["Location"]
    status, headers, _ = registry.send("PATCH", at, blob[:1000], Content_Range="0-999")
    assert (status, headers["Range"]) == (202, "0-999")
    # A piece that does not follow is refused, and says where to go on.
    status, headers, _ = registry.send("PATCH", at, blob[2000:3000], Content_Range="2000-2999")
    assert (status, headers["Range"]) == (416, "0-999")
    status, headers, _ = registry.send("GET", at)
    assert (status, headers["Range"]) == (204, "0-999")
    assert registry.send("PATCH", at, iter([blob[1000:9000], blob[9000:2_000_000]]))[0] == 202
    status, headers, _ = registry.send("PUT", f"{at}?digest={digest_of(blob)}", blob[2_000_000:])
    assert (status, headers["Docker-Content-Digest"]) == (201, digest_of(blob))
    place = f"/v2/{repository}/blobs/{digest_of(blob)}"
    status, headers, _ = registry.send("HEAD", place)
    assert (status, headers["Content-Length"]) == (200, "3000000")
    assert registry.send("GET", place)[2] == blob
    for asked, part in {
        "bytes=5-9": blob[5:10],
        "bytes=2999990-": blob[-10:],
        "bytes=-7": blob[-7:],
    }.items():
        status, headers, content = registry.send("GET", place, Range=asked)
        assert (status, content) == (206, part)
    assert registry.send("GET", place, Range="bytes=3000000-")[0] == 416


def test_an_upload_that_was_cut_goes_on_where_it_was(
    cloud: CloudUnderTest, registry: Registry, repository: str
) -> None:
    blob = os.urandom(100_000)
    _, headers, _ = registry.send("POST", f"/v2/{repository}/blobs/uploads/")
    at = headers["Location"]
    host, port = cloud.endpoint.removeprefix("http://").split(":")
    token = base64.b64encode(f"AWS:{registry.password}".encode()).decode()
    with socket.create_connection((host, int(port))) as cut:
        head = f"PATCH {at} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Basic {token}\r\n"
        cut.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + blob[:60_000])

    def arrived() -> int:
        return int(registry.send("GET", at)[1]["Range"].partition("-")[2]) + 1

    until(arrived, lambda size: size == 60_000)
    there = arrived()
    until(
        lambda: registry.send("PATCH", at, blob[there:], Content_Range=f"{there}-99999")[0],
        lambda status: status == 202,
    )
    assert registry.send("PUT", f"{at}?digest={digest_of(blob)}")[0] == 201


@pytest.mark.parametrize("digest", [digest_of(b"something else"), "sha256:../../x", "md5:0", ""])
def test_nothing_wrong_is_ever_under_a_digest(
    cloud: CloudUnderTest, registry: Registry, repository: str, digest: str
) -> None:
    before = blob_files(cloud)
    _, headers, _ = registry.send("POST", f"/v2/{repository}/blobs/uploads/")
    status, _, body = registry.send("PUT", f"{headers['Location']}?digest={digest}", b"content")
    assert (status, json.loads(body)["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    assert blob_files(cloud) == before
    assert not list((cloud.cloud.state / "ecr" / "uploads").iterdir())


def test_an_upload_can_be_cancelled_and_is_its_repositorys_own(
    cloud: CloudUnderTest, registry: Registry, repository: str
) -> None:
    _, headers, _ = registry.send("POST", f"/v2/{repository}/blobs/uploads/")
    at, other = headers["Location"], make_repository(cloud)
    assert registry.send("PATCH", at.replace(repository, other), b"x")[0] == 404
    assert registry.send("DELETE", at)[0] == 204
    assert registry.send("PATCH", at, b"x")[0] == 404


def test_a_blob_is_mounted_from_another_repository(
    cloud: CloudUnderTest, registry: Registry, repository: str
) -> None:
    push_blob(registry.url, repository, b"shared")
    other, digest = make_repository(cloud), digest_of(b"shared")
    assert registry.send("HEAD", f"/v2/{other}/blobs/{digest}")[0] == 404
    mounted = registry.send("POST", f"/v2/{other}/blobs/uploads/?mount={digest}&from={repository}")
    assert mounted[0] == 201
    cloud.client("ecr").delete_repository(repositoryName=repository, force=True)
    assert registry.send("GET", f"/v2/{other}/blobs/{digest}")[2] == b"shared"
    missing = digest_of(b"missing")
    assert registry.send("POST", f"/v2/{other}/blobs/uploads/?mount={missing}&from={other}")[0] == 202


def test_manifests_are_checked(registry: Registry, repository: str) -> None:
    manifest, config, layers = small_image("checked").blobs()

    def put(content: bytes, kind: str = MANIFEST_TYPE, name: str = "t") -> tuple[int, str]:
        status, _, body = registry.send(
            "PUT", f"/v2/{repository}/manifests/{name}", content, Content_Type=kind
        )
        return status, json.loads(body)["errors"][0]["code"] if body else ""

    assert put(manifest) == (400, "MANIFEST_BLOB_UNKNOWN")
    for blob in (config, *layers):
        push_blob(registry.url, repository, blob)
    assert put(b"{}") == (400, "MANIFEST_INVALID")
    assert put(b"[" * 100_000) == (400, "MANIFEST_INVALID")
    assert put(manifest, kind="text/plain") == (400, "MANIFEST_INVALID")
    assert put(manifest, name=digest_of(b"other")) == (400, "DIGEST_INVALID")
    assert put(manifest, name="-bad-") == (400, "TAG_INVALID")
    index = index_of([(manifest, {"os": "linux", "architecture": "amd64"})])
    assert put(index, INDEX_TYPE) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert put(manifest, name=digest_of(manifest)) == (201, "")
    assert put(index, INDEX_TYPE) == (201, "")


def test_tags_are_listed_page_by_page_and_immutable_where_that_is_asked_for(
    cloud: CloudUnderTest, registry: Registry
) -> None:
    repository = make_repository(cloud, imageTagMutability="IMMUTABLE")
    for tag in ("a", "b", "c"):
        push_by_protocol(registry.url, repository, tag, small_image())
    status, headers, body = registry.send("GET", f"/v2/{repository}/tags/list?n=2")
    assert (status, json.loads(body)["tags"]) == (200, ["a", "b"])
    following = headers["Link"].partition(">")[0].removeprefix("<")
    assert json.loads(registry.send("GET", following)[2])["tags"] == ["c"]
    manifest, config, layers = small_image("other").blobs()
    for blob in (config, *layers):
        push_blob(registry.url, repository, blob)
    status, _, body = registry.send(
        "PUT", f"/v2/{repository}/manifests/a", manifest, Content_Type=MANIFEST_TYPE
    )
    assert status == 400 and "immutable" in json.loads(body)["errors"][0]["message"]
    ecr = cloud.client("ecr")
    with pytest.raises(ecr.exceptions.ImageTagAlreadyExistsException):
        ecr.put_image(repositoryName=repository, imageManifest=manifest.decode(), imageTag="a")


def test_a_repository_with_images_is_deleted_by_force_alone(
    cloud: CloudUnderTest, registry: Registry, repository: str
) -> None:
    ecr, before = cloud.client("ecr"), blob_files(cloud)
    push_by_protocol(registry.url, repository, "x", small_image("to be deleted"))
    with pytest.raises(ecr.exceptions.RepositoryNotEmptyException):
        ecr.delete_repository(repositoryName=repository)
    ecr.delete_repository(repositoryName=repository, force=True)
    assert blob_files(cloud) == before
    assert registry.send("GET", f"/v2/{repository}/manifests/x")[0] == 404
    ecr.create_repository(repositoryName=repository)
    assert ecr.list_images(repositoryName=repository)["imageIds"] == []


def test_deleting_by_tag_keeps_an_image_that_has_another(
    cloud: CloudUnderTest, registry: Registry, repository: str
) -> None:
    ecr = cloud.client("ecr")
    for tag in ("one", "two"):
        digest = push_by_protocol(registry.url, repository, tag, small_image())

    def delete(**identity: str) -> Any:
        return ecr.batch_delete_image(repositoryName=repository, imageIds=[identity])["imageIds"]

    assert delete(imageTag="one") == [{"imageDigest": digest, "imageTag": "one"}]
    assert ecr.list_images(repositoryName=repository)["imageIds"][0]["imageTag"] == "two"
    delete(imageTag="two")
    assert ecr.describe_images(repositoryName=repository)["imageDetails"] == []


def test_a_name_cannot_lead_out_of_the_state_folder(cloud: CloudUnderTest, registry: Registry) -> None:
    ecr = cloud.client("ecr")
    for name in ("../../escape", "a/../b", "UPPER", "x" * 257):
        with pytest.raises(ecr.exceptions.ClientError):
            ecr.create_repository(repositoryName=name)
    assert registry.send("GET", "/v2/a/../../x/manifests/latest")[0] == 404


def test_a_large_layer_needs_no_memory(cloud: CloudUnderTest, registry: Registry, repository: str) -> None:
    status = Path(f"/proc/{cloud.running.emulator_pid}/status")

    def peak_mib() -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) // 1024

    piece, count = os.urandom(1 << 20), 200
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(piece)
    before = peak_mib()
    _, headers, _ = registry.send("POST", f"/v2/{repository}/blobs/uploads/")
    name = f"sha256:{digest.hexdigest()}"
    put = registry.send("PUT", f"{headers['Location']}?digest={name}", iter([piece] * count))
    assert put[0] == 201
    assert len(registry.send("GET", f"/v2/{repository}/blobs/{name}")[2]) == count << 20
    assert peak_mib() - before < 60
    cloud.client("ecr").delete_repository(repositoryName=repository, force=True)


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[CloudUnderTest]:
    embedded = Cloud(tmp_path / "cloud")
    yield CloudUnderTest(embedded, embedded.start(tied=True))
    embedded.stop()


def test_images_survive_a_stop_and_a_kill(own_cloud: CloudUnderTest) -> None:
    embedded = own_cloud.cloud
    pushed = push(own_cloud, small_image())
    embedded.stop()
    cloud = CloudUnderTest(embedded, embedded.start(tied=True))
    tags = cloud.client("ecr").list_images(repositoryName=pushed.repository)["imageIds"]
    assert tags == [{"imageDigest": pushed.digest, "imageTag": "v1"}]
    second = push(cloud, small_image("second"), "v2", pushed.repository)
    left = Registry(cloud)
    _, headers, _ = left.send("POST", f"/v2/{pushed.repository}/blobs/uploads/")
    left.send("PATCH", headers["Location"], b"unfinished")
    os.kill(cloud.running.emulator_pid, signal.SIGKILL)
    until(embedded.running, lambda running: running is None)
    embedded.stop()
    cloud = CloudUnderTest(embedded, embedded.start(tied=True))
    ids = cloud.client("ecr").list_images(repositoryName=pushed.repository)["imageIds"]
    assert {identity["imageDigest"] for identity in ids} == {pushed.digest, second.digest}
    registry = Registry(cloud)
    for digest in (pushed.digest, second.digest):
        manifest = registry.send("GET", f"/v2/{pushed.repository}/manifests/{digest}")[2]
        assert digest_of(manifest) == digest
        for layer in json.loads(manifest)["layers"]:
            blob = registry.send("GET", f"/v2/{pushed.repository}/blobs/{layer['digest']}")[2]
            assert digest_of(blob) == layer["digest"]
    assert not list((embedded.state / "ecr" / "uploads").iterdir())


def test_a_kill_of_the_emulator_leaves_no_container(shell: Shell) -> None:
    shell.scar("local", "start")
    embedded = Cloud(shell.state)
    running = embedded.running()
    assert running is not None
    cloud = CloudUnderTest(embedded, running)
    name, _, value = shell.mark.partition("=")
    function = make_image_function(cloud, push(cloud, shell_image()).uri, variables={name: value})
    before = set(shell.processes())
    function.run("(sleep 600 &); true")
    in_containers = set(shell.processes()) - before
    assert len(in_containers) >= 2
    os.kill(running.emulator_pid, signal.SIGKILL)
    until(shell.processes, lambda left: not left)


def test_a_token_may_do_what_its_caller_may(cloud: CloudUnderTest, request: pytest.FixtureRequest) -> None:
    allowed, other = make_repository(cloud), make_repository(cloud)
    reader = [
        {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "Resource": f"arn:aws:ecr:us-east-1:000000000000:repository/{allowed}",
        },
    ]
    iam = cloud.client("iam")
    iam.create_user(UserName="reader")
    policy = json.dumps({"Version": "2012-10-17", "Statement": reader})
    iam.put_user_policy(UserName="reader", PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]

    def leave_no_user() -> None:
        """Other tests on this cloud find out that nobody has made one."""
        iam.delete_access_key(UserName="reader", AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName="reader", PolicyName="p")
        iam.delete_user(UserName="reader")

    request.addfinalizer(leave_no_user)
    image = small_image()
    for repository in (allowed, other):
        push(cloud, image, repository=repository)
    registry = Registry(cloud, key["AccessKeyId"], key["SecretAccessKey"])
    layer = digest_of(image.blobs()[2][0])
    statuses = {
        (method, path): registry.send(method, f"/v2/{allowed}/{path}")[0]
        for method, path in (
            ("GET", "manifests/v1"),
            ("GET", f"blobs/{layer}"),
            ("GET", "tags/list"),
            ("POST", "blobs/uploads/"),
            ("PUT", "manifests/v2"),
            ("DELETE", "manifests/v1"),
        )
    }
    assert list(statuses.values()) == [200, 200, 403, 403, 403, 403]
    status, _, body = registry.send("GET", f"/v2/{other}/manifests/v1")
    assert status == 403
    assert "user/reader is not authorized to perform: ecr:BatchGetImage" in body.decode()
