"""Images for tests, made in Python: layers from a list of files, in OCI layout, docker-save or a registry.

`busybox_layer` and `host_shell_layer` give layers with programs that run: a static busybox where Debian's
`busybox-static` is installed, and this machine's own /bin/sh and coreutils with the libraries that `ldd`
names.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass
class File:
    """One tar member. `kind` is a tarfile type; content or link as the kind wants it."""

    name: str
    content: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    uid: int = 0
    gid: int = 0
    mtime: int = 1_700_000_000
    pax: Mapping[str, str] = field(default_factory=dict)


def directory(name: str, mode: int = 0o755, **more: int) -> File:
    return File(name, mode=mode, kind=tarfile.DIRTYPE, **more)  # type: ignore[arg-type]


def symlink(name: str, target: str) -> File:
    return File(name, mode=0o777, kind=tarfile.SYMTYPE, link=target)


def hard_link(name: str, target: str) -> File:
    return File(name, kind=tarfile.LNKTYPE, link=target)


def tar_of(files: Iterable[File], format: int = tarfile.PAX_FORMAT) -> bytes:
    """An uncompressed layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, errors="surrogateescape") as tar:
        for file in files:
            info = tarfile.TarInfo(file.name)
            info.size = len(file.content)
            info.mode, info.type, info.linkname = file.mode, file.kind, file.link
            info.uid, info.gid, info.mtime = file.uid, file.gid, file.mtime
            info.pax_headers = dict(file.pax)
            tar.addfile(info, io.BytesIO(file.content))
    return buffer.getvalue()


@dataclass
class Image:
    """An image: uncompressed layers and its configuration's `config` object."""

    layers: Sequence[bytes]
    config: Mapping[str, object] = field(default_factory=dict)
    architecture: str = "amd64"
    compress: str = "gzip"

    def blobs(self) -> tuple[bytes, bytes, list[bytes]]:
        """Manifest, configuration, stored layers."""
        stored = [self._stored(layer) for layer in self.layers]
        config = json.dumps(
            {
                "architecture": self.architecture,
                "os": "linux",
                "config": dict(self.config),
                "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in self.layers]},
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": descriptor(config, CONFIG_TYPE),
                "layers": [descriptor(layer, LAYER_TYPE) for layer in stored],
            }
        ).encode()
        return manifest, config, stored

    def _stored(self, layer: bytes) -> bytes:
        return gzip.compress(layer, 1, mtime=0) if self.compress == "gzip" else layer


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def descriptor(content: bytes, media_type: str, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}


def index_of(manifests: Iterable[tuple[bytes, Mapping[str, str]]]) -> bytes:
    """An OCI index of (manifest, platform) pairs."""
    entries = [
        descriptor(manifest, MANIFEST_TYPE, platform=dict(platform)) for manifest, platform in manifests
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).encode()


def write_layout(folder: Path, images: Mapping[str | None, Image]) -> dict[str | None, str]:
    """An OCI image layout with one manifest a tag (None: without a name); returns tag -> digest."""
    entries, digests = [], {}
    for tag, image in images.items():
        manifest, config, layers = image.blobs()
        for blob in (manifest, config, *layers):
            path = folder / "blobs" / digest_of(blob).replace(":", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blob)
        more = {"annotations": {"org.opencontainers.image.ref.name": tag}} if tag else {}
        entries.append(descriptor(manifest, MANIFEST_TYPE, **more))
        digests[tag] = digest_of(manifest)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    return digests


def docker_save(path: Path, image: Image, tag: str = "test:latest") -> Path:
    """A tar as `docker save` of Docker 20 writes it: layers uncompressed, manifest.json at the end."""
    _, config, _ = image.blobs()
    names = [f"{digest_of(layer).partition(':')[2]}/layer.tar" for layer in image.layers]
    config_name = f"{digest_of(config).partition(':')[2]}.json"
    files = [File(name, layer) for name, layer in zip(names, image.layers, strict=True)]
    manifest = json.dumps([{"Config": config_name, "RepoTags": [tag], "Layers": names}]).encode()
    path.write_bytes(tar_of([*files, File(config_name, config), File("manifest.json", manifest)]))
    return path


def oci_archive(path: Path, folder: Path) -> Path:
    """A tar of the layout in `folder`."""
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*")):
            tar.add(file, str(file.relative_to(folder)), recursive=False)
    return path


def push(registry: str, repository: str, tag: str, image: Image) -> str:
    """Push to the registry at `registry` (http://[name:password@]host:port) by the distribution protocol;
    returns the digest."""
    manifest, config, layers = image.blobs()
    for blob in (config, *layers):
        push_blob(registry, repository, blob)
    return push_manifest(registry, repository, tag, manifest, MANIFEST_TYPE)


def push_blob(registry: str, repository: str, blob: bytes) -> None:
    with _send("POST", f"{registry}/v2/{repository}/blobs/uploads/") as answer:
        there = urllib.parse.urlsplit(urllib.parse.urljoin(registry, answer.headers["Location"]))
    location = there._replace(netloc=urllib.parse.urlsplit(registry).netloc).geturl()
    separator = "&" if "?" in location else "?"
    headers = {"Content-Type": "application/octet-stream"}
    _send("PUT", f"{location}{separator}digest={digest_of(blob)}", blob, headers).close()


def push_manifest(registry: str, repository: str, tag: str, manifest: bytes, media_type: str) -> str:
    _send(
        "PUT", f"{registry}/v2/{repository}/manifests/{tag}", manifest, {"Content-Type": media_type}
    ).close()
    return digest_of(manifest)


def _send(method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None):  # type: ignore[no-untyped-def]
    address = urllib.parse.urlsplit(url)
    more = {}
    if address.username:
        login = f"{address.username}:{address.password}".encode()
        more["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        url = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(
        url, data=body if body is not None else b"", method=method, headers={**(headers or {}), **more}
    )
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30)


@functools.cache
def busybox_layer() -> bytes | None:
    """A layer with a static busybox as /bin/busybox and its usual names, or None if this machine has none."""
    busybox = shutil.which("busybox")
    if (
        not busybox
        or b"interpreter" in subprocess.run(["file", "-L", busybox], capture_output=True, check=False).stdout
    ):
        return None
    applets = "sh cat echo ls id sleep env pwd touch mkdir rm true false kill ps head tr readlink setsid sync"
    return tar_of(
        [
            directory("bin"),
            directory("tmp", 0o1777),
            directory("etc"),
            File("etc/passwd", b"root:x:0:0::/root:/bin/sh\nworker:x:1234:4321::/home/worker:/bin/sh\n"),
            File("etc/group", b"root:x:0:\nworkers:x:4321:\nextra:x:5555:worker\n"),
            File("bin/busybox", Path(busybox).read_bytes(), 0o755),
            *(symlink(f"bin/{name}", "busybox") for name in applets.split()),
        ]
    )


@functools.cache
def host_shell_layer() -> bytes:
    """A layer with this machine's sh, bash and some coreutils, dynamically linked, with /etc/alternatives
    links."""
    names = (
        "sh",
        "cat",
        "echo",
        "ls",
        "id",
        "sleep",
        "env",
        "pwd",
        "touch",
        "mkdir",
        "rm",
        "readlink",
        "setsid",
        "chmod",
        "head",
        "grep",
    )
    files: dict[str, File] = {}
    for name in names:
        program = shutil.which(name)
        assert program is not None
        _add_program(files, Path(program), f"usr/bin/{name}")
    entries = [
        *(directory(name) for name in ("usr", "usr/bin", "usr/lib", "usr/lib64", "etc", "etc/alternatives")),
        directory("root", 0o700),
        directory("tmp", 0o1777),
        symlink("bin", "usr/bin"),
        symlink("lib", "usr/lib"),
        symlink("lib64", "usr/lib64"),
        symlink("etc/alternatives/show", "/usr/bin/cat"),  # absolute, as update-alternatives makes them
        symlink("usr/bin/show", "/etc/alternatives/show"),
        File("etc/passwd", b"root:x:0:0::/root:/bin/sh\nworker:x:1234:4321::/home/worker:/bin/sh\n"),
        File("etc/group", b"root:x:0:\nworkers:x:4321:\n"),
        File("etc/os-release", b'ID=debian\nVERSION_ID="12"\n'),
    ]
    return tar_of([*entries, *files.values()])


def _add_program(files: dict[str, File], program: Path, name: str) -> None:
    files[name] = File(name, program.resolve().read_bytes(), 0o755)
    listed = subprocess.run(["ldd", str(program)], capture_output=True, check=False, text=True).stdout
    for library in re.findall(r"(/\S+)", listed):
        inside = re.sub(r"^/(usr/)?", "usr/", library)
        files.setdefault(inside, File(inside, Path(library).resolve().read_bytes(), 0o755))
