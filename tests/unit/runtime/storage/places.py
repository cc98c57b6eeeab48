"""The kinds of file servers behind one face, so that a test can say what both must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.config import StorageConnection
from runtime.storage.contract import StoredObject, Upload
from runtime.storage.file_server import FileServerStorage
from runtime.storage.onedata import OnedataStorage
from runtime.storage.webdav import WebDavStorage
from tests.unit.runtime.storage.servers import LOGIN, PASSWORD, TOKEN, Running

SPACE = "My Space ü"


@dataclass
class Place:
    """One server, and how to connect to it."""

    name: str
    running: Running
    secret: str
    connect: Callable[..., FileServerStorage]
    rename: str
    """The method that publishes a file."""
    temporary: str
    """How the path ends to which it is sent, for a file `a`."""

    def upload(self, folder: Path, **contents: bytes) -> None:
        """Upload files to `out/`; `__` in a name stands for a slash."""
        self.upload_all(folder, {"out/" + name.replace("__", "/"): text for name, text in contents.items()})

    def upload_all(self, folder: Path, contents: dict[str, bytes], **more: str) -> None:
        uploads = []
        for number, (name, content) in enumerate(contents.items()):
            file = folder / f"local-{number}"
            file.write_bytes(content)
            bucket, _, key = name.partition("/")
            uploads.append(Upload(file, bucket, key, len(content)))
        self.connect(**more).upload(uploads)

    def download(self, path: str, target: Path, **more: str) -> list[int]:
        """The sizes that were announced."""
        bucket, _, key = path.partition("/")
        sizes: list[int] = []
        source = StoredObject(bucket, key, provider=self.name)
        assert self.connect(**more).download(source, target, on_size=sizes.append) == target.stat().st_size
        return sizes


def webdav_place(running: Running) -> Place:
    def connect(url: str = running.url, secret: str = PASSWORD) -> WebDavStorage:
        settings = {"hostname": url, "login": LOGIN, "password": secret}
        return WebDavStorage(StorageConnection("webdav.home", {}), settings)

    return Place("webdav.home", running, PASSWORD, connect, "MOVE", ".part")


def onedata_place(running: Running) -> Place:
    def connect(url: str = running.url, secret: str = TOKEN) -> OnedataStorage:
        settings = {"oneprovider_host": url, "token": secret, "space": SPACE}
        return OnedataStorage(StorageConnection("onedata.eosc", {}), settings)

    return Place("onedata.eosc", running, TOKEN, connect, "PUT", "/a")
