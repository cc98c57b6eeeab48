"""WebDAV (RFC 4918): Nextcloud, ownCloud, dCache, Apache and the like, with HTTP's Basic authentication.

`path: folder/sub` of an output is below the path of `hostname`. Folders are created with MKCOL. A file is PUT
under a temporary name and MOVEd to its own, replacing an older file but never a folder, which a server that
obeys `Overwrite: T` would remove with its content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from containers.http_client import basic_authorization
from runtime.config import StorageConnection
from runtime.storage.address import ServerAddress
from runtime.storage.file_server import FileServerStorage
from runtime.storage.http import NOT_FOUND, HttpServer, ServerAnswer, StumbledError

METHOD_NOT_ALLOWED, CONFLICT, GONE, PRECONDITION_FAILED, MULTI_STATUS = 405, 409, 410, 412, 207
_ASK_FOR_TYPE = b'<propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
_SPECIAL = re.compile(
    "%(3F|23|3B)"
)  # ? # ; in a name: some servers decode a Destination before they split it
_COLLECTION = re.compile(rb"<(?:[\w.-]+:)?collection[\s/>]")


class WebDavStorage(FileServerStorage):
    """The `Storage` of providers `webdav.NAME`."""

    def __init__(self, provider: StorageConnection, settings: Mapping[str, str]) -> None:
        address = ServerAddress.parse(settings["hostname"], f"hostname of {provider.name}")
        authorization = basic_authorization(settings["login"], settings["password"])
        super().__init__(_WebDav(HttpServer(provider.name, address, {"Authorization": authorization})))


class _WebDav:
    """WebDAV as a `FileProtocol`."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server

    def url_path(self, path: str) -> str:
        return self.server.address.path + path

    def media_type(self, guessed: str) -> str:
        return guessed

    def make_folder(self, path: str) -> ServerAnswer | None:
        answer = self.server.ask("MKCOL", self.url_path(path) + "/")
        # RFC 4918, 9.3.1: 405, something already exists.
        if answer.ok or answer.status == METHOD_NOT_ALLOWED:
            return None
        if answer.status != CONFLICT and self._look(path + "/").ok:
            return None  # an account may lack permission to create an existing folder
        return answer

    def exists(self, path: str) -> bool:
        answer = self._look(path)
        if answer.ok:
            return True
        if answer.status in (NOT_FOUND, GONE):
            return False
        raise StumbledError(f"{answer.said} to a PROPFIND")

    def rename(self, source: str, target: str) -> ServerAnswer:
        answer = self._move(source, target, overwrite=False)
        if answer.status == PRECONDITION_FAILED:
            if _COLLECTION.search(self._look(target).body):
                return ServerAnswer(CONFLICT, {}, b"", "a folder with that name exists")
            answer = self._move(source, target, overwrite=True)
        if answer.ok and _SPECIAL.search(target) and not self.exists(target):
            return ServerAnswer(CONFLICT, {}, b"", "the server stored the file under another name")
        return answer

    def _move(self, source: str, target: str, *, overwrite: bool) -> ServerAnswer:
        answer = self.server.ask(
            "MOVE",
            self.url_path(source),
            {
                "Destination": self.server.address.origin + self.url_path(target),
                "Overwrite": "T" if overwrite else "F",
            },
        )
        if answer.status == MULTI_STATUS:  # for one file, this status means a failure (RFC 4918, 9.9.4)
            return ServerAnswer(CONFLICT, answer.headers, b"", "the server could not move it")
        return answer

    def _look(self, path: str) -> ServerAnswer:
        return self.server.ask(
            "PROPFIND", self.url_path(path), {"Depth": "0", "Content-Type": "application/xml"}, _ASK_FOR_TYPE
        )
