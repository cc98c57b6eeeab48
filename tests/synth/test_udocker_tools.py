"""udocker's tools beside the runner: when they are packaged, where they come from, what is taken of them."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scar_constructs.deployment import Deployment, DeploymentError
from scar_constructs.functions import udocker_tarball, udocker_tools
from scar_constructs.functions.udocker_tarball import (
    UDOCKER_TARBALL,
    UdockerTools,
    download,
    find_udocker_tools,
)
from scar_constructs.functions.udocker_tools import add_udocker_tools

ACCOUNT = {"CDK_DEFAULT_ACCOUNT": "123456789012"}


def tarball(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


LIBRARY = {"udocker_dir/lib/libfakechroot-Debian-12-x86_64.so": b"library"}


def unpacked(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- what is taken of a tarball


def test_tools_of_the_tarball_lie_where_the_runner_looks(tmp_path: Path) -> None:
    files = {
        **LIBRARY,
        "udocker_dir/lib/libfakechroot-AlmaLinux-9-arm64.so": b"for ARM",
        "udocker_dir/lib/libfakechroot-AlmaLinux-9-ppc64le.so": b"no such Lambda",
        "udocker_dir/bin/proot-x86_64": b"program",
        "udocker_dir/bin/runc-x86_64": b"not used",
        "udocker_dir/doc/LICENSE.proot": b"GPL",
        "../../bin/proot-arm64-4_8_0": b"leads out",
    }
    links = {
        "udocker_dir/bin/proot-x86_64-4_8_0": "proot-x86_64",
        "udocker_dir/lib/libfakechroot-Debian-7-x86_64.so": "libfakechroot-Debian-12-x86_64.so",
        "udocker_dir/lib/libfakechroot-Evil-1-x86_64.so": "/etc/passwd",
    }
    add_udocker_tools(tarball(tmp_path / "tools.tar.gz", files, links), tmp_path / "tools")
    assert unpacked(tmp_path / "tools") == {
        "lib/libfakechroot-Debian-12-x86_64.so": b"library",
        "lib/libfakechroot-Debian-7-x86_64.so": b"library",
        "lib/libfakechroot-AlmaLinux-9-arm64.so": b"for ARM",
        "bin/proot-x86_64": b"program",
        "bin/proot-x86_64-4_8_0": b"program",
        "bin/proot-arm64-4_8_0": b"leads out",
        "doc/LICENSE.proot": b"GPL",
    }
    assert (tmp_path / "tools/bin/proot-x86_64-4_8_0").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("content", [None, b"", b"not a tarball", "torn"])
def test_useless_tarball_is_named(content: bytes | str | None, tmp_path: Path) -> None:
    file = tmp_path / "tools.tar.gz"
    if content == "torn":
        tarball(file, {"README": bytes(range(256)) * 100, **LIBRARY})
        file.write_bytes(file.read_bytes()[:200])
    elif isinstance(content, bytes):
        file.write_bytes(content)
    with pytest.raises(DeploymentError, match=r"tools\.tar\.gz cannot be read"):
        add_udocker_tools(file, tmp_path / "tools")
    assert not (tmp_path / "tools").exists()


def test_tarball_of_something_else_is_refused(tmp_path: Path) -> None:
    other = tarball(tmp_path / "other.tar.gz", {"README": b"x", "doc/LICENSE": b"x"})
    with pytest.raises(DeploymentError, match="contains neither fakechroot libraries nor proot"):
        add_udocker_tools(other, tmp_path / "tools")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udocker_tools, "_MAXIMUM_UNPACKED", 1000)
    unwanted = tarball(tmp_path / "unwanted.tar.gz", {"README": bytes(2000), **LIBRARY})
    with pytest.raises(DeploymentError, match="too large for a release"):
        add_udocker_tools(unwanted, tmp_path / "tools")
    monkeypatch.setattr(udocker_tools, "_MAXIMUM_BYTES", 500)
    wanted = tarball(tmp_path / "wanted.tar.gz", {"lib/libfakechroot-Big-1-x86_64.so": bytes(600)})
    with pytest.raises(DeploymentError, match="too much for AWS Lambda"):
        add_udocker_tools(wanted, tmp_path / "tools")
    monkeypatch.setattr(udocker_tools, "_MAXIMUM_MEMBERS", 5)
    many = tarball(tmp_path / "many.tar.gz", {f"{number}": b"" for number in range(9)})
    with pytest.raises(DeploymentError, match="too large for a release"):
        add_udocker_tools(many, tmp_path / "tools")


# -- when they are wanted


class Mirror:
    """A server of a tarball, which counts what it is asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []
        self.announce = 0
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.asked.append(self.path)
                if self.path == "/elsewhere":
                    self.send_response(302)
                    self.send_header("Location", "http://example.org/tools.tar.gz")
                    self.end_headers()
                    return
                self.send_response(200 if self.path.endswith("tools.tar.gz") else 404)
                self.send_header("Content-Length", str(mirror.announce or len(mirror.content)))
                self.end_headers()
                self.wfile.write(mirror.content)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """In the place of udocker's own mirrors, of which the first does not answer."""
    served = Mirror(tarball(tmp_path / "served.tar.gz", LIBRARY).read_bytes())
    threading.Thread(target=served.server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(udocker_tarball, "RELEASE", (f"{served.url}/missing", f"{served.url}/tools.tar.gz"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield served
    served.server.shutdown()
    served.server.server_close()


def test_nothing_is_fetched_where_nothing_is_deployed_to_aws(mirror: Mirror, tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    embedded = {**cache, **ACCOUNT, "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
    assert find_udocker_tools(None, embedded) == UdockerTools()
    assert find_udocker_tools("download", embedded) == UdockerTools()
    assert find_udocker_tools("none", {**cache, **ACCOUNT}) == UdockerTools()
    without_account = find_udocker_tools(None, cache)
    assert without_account.tarball is None
    assert "UDOCKER_TARBALL" in (without_account.warning or "")
    assert mirror.asked == []
    assert not (tmp_path / "cache").exists()


def test_for_a_deployment_to_aws_they_are_fetched_once(
    mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {**ACCOUNT, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    found = find_udocker_tools(None, environ).tarball
    assert found is not None
    assert found.read_bytes() == mirror.content
    assert f"-c udocker_tools=sha256:{hashlib.sha256(mirror.content).hexdigest()}" in capsys.readouterr().err
    assert find_udocker_tools("download", environ).tarball == found
    assert mirror.asked == ["/missing", "/tools.tar.gz"]
    assert capsys.readouterr().err == ""
    assert [path.name for path in found.parent.iterdir()] == [found.name]


def test_a_pinned_download_is_checked_in_the_cache_too(mirror: Mirror, tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    right = f"sha256:{hashlib.sha256(mirror.content).hexdigest()}"
    found = find_udocker_tools(right, environ).tarball
    assert found is not None
    found.write_bytes(b"damaged")
    assert find_udocker_tools(right, environ).tarball == found
    assert found.read_bytes() == mirror.content
    with pytest.raises(DeploymentError, match=f"its SHA-256 is .*, expected {'0' * 64}"):
        find_udocker_tools(f"sha256:{'0' * 64}", environ)


def test_tools_that_cannot_be_had_are_a_clear_error(mirror: Mirror, tmp_path: Path) -> None:
    mirror.content = b"<html>log in to the network first</html>"
    with pytest.raises(DeploymentError) as caught:
        find_udocker_tools(None, {**ACCOUNT, "XDG_CACHE_HOME": str(tmp_path)})
    text = str(caught.value)
    assert "/missing: Not Found" in text
    assert "/tools.tar.gz: it is not a gzip file" in text
    assert "set UDOCKER_TARBALL" in text
    assert "-c udocker_tools=none" in text
    assert list((tmp_path / "scar-cdk").iterdir()) == []


def test_a_download_has_an_end_and_is_whole(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.announce = len(mirror.content) + 1
    with pytest.raises(DeploymentError, match=r"Incomplete|cut after"):
        download([f"{mirror.url}/tools.tar.gz"], None, tmp_path)
    mirror.announce = 0
    monkeypatch.setattr(udocker_tarball, "_MAXIMUM_BYTES", 10)
    with pytest.raises(DeploymentError, match="larger than"):
        download([f"{mirror.url}/tools.tar.gz"], None, tmp_path)


@pytest.mark.parametrize("url", ["http://example.org/tools.tar.gz", "file:///etc/passwd", "MIRROR/elsewhere"])
def test_programs_come_over_https_alone(mirror: Mirror, tmp_path: Path, url: str) -> None:
    with pytest.raises(DeploymentError, match="over https only"):
        download([url.replace("MIRROR", mirror.url)], None, tmp_path)


def test_udockers_own_variable_names_a_file_or_addresses(mirror: Mirror, tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    file = str(tmp_path / "served.tar.gz")
    assert find_udocker_tools(None, {**cache, UDOCKER_TARBALL: file}).tarball == Path(file)
    addresses = f"{mirror.url}/no {mirror.url}/my-tools.tar.gz"
    found = find_udocker_tools(None, {**cache, UDOCKER_TARBALL: addresses}).tarball
    assert found is not None
    assert found.read_bytes() == mirror.content
    with pytest.raises(DeploymentError, match="UDOCKER_TARBALL=/no/such cannot be read"):
        find_udocker_tools(None, {UDOCKER_TARBALL: "/no/such"})
    with pytest.raises(DeploymentError, match=f"expects {'0' * 64}"):
        find_udocker_tools(f"sha256:{'0' * 64}", {UDOCKER_TARBALL: file})


@pytest.mark.parametrize("value", ["none", "download", f"sha256:{'a1' * 32}"])
def test_context_says_what_is_wanted(value: str) -> None:
    assert Deployment.from_context({"fdl": "x.yaml", "udocker_tools": value}).udocker_tools == value


@pytest.mark.parametrize("value", ["no", "sha256:", "sha256:12", "/a/file"])
def test_other_words_are_refused(value: str) -> None:
    with pytest.raises(DeploymentError, match=r"-c udocker_tools=.*: expected"):
        Deployment.from_context({"fdl": "x.yaml", "udocker_tools": value})
