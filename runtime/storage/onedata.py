"""Onedata, through the CDMI interface of a Oneprovider (CDMI 1.1.1).

`path: folder/sub` of an output is below the `space`. As Onedata documents it
(https://onedata.org/#/home/documentation, "CDMI"; its server's `cdmi_handler` says the same):

- the access token is sent as `X-Auth-Token`; paths are `/cdmi/SPACE/FOLDER/FILE`, with a `/` after a folder;
- a request *without* `X-CDMI-Specification-Version` and CDMI's media types contains the unchanged bytes of a
  file, and is streamed; with them it is JSON. A PUT creates or replaces a file, if its folder exists;
- a PUT of a container (a folder) creates it, and does not change an existing one;
- a PUT with `{"move": PATH}` renames, if the new name does not exist. An older file is therefore deleted just
  before: the name is missing for a moment, but the file is never incomplete;
- errors of its file system are 400 with the POSIX error's name in a JSON body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote

from containers.bounded_json import read_json
from containers.errors import ErrorKind, ExplainedError
from runtime.config import StorageConnection
from runtime.storage.address import ServerAddress, encoded_path
from runtime.storage.file_server import FileServerStorage
from runtime.storage.http import (
    FORBIDDEN,
    NO_SPACE,
    NOT_FOUND,
    HttpServer,
    ServerAnswer,
    StumbledError,
)

BAD_REQUEST, CONFLICT = 400, 409
_VERSION = {"X-CDMI-Specification-Version": "1.1.1"}
_STATUS_OF_ERRNO = {
    "enoent": NOT_FOUND,
    "eacces": FORBIDDEN,
    "eperm": FORBIDDEN,
    "enospc": NO_SPACE,
    "edquot": NO_SPACE,
    "eexist": CONFLICT,
}


class OnedataStorage(FileServerStorage):
    """The `Storage` of providers `onedata.NAME`."""

    def __init__(self, provider: StorageConnection, settings: Mapping[str, str]) -> None:
        address = ServerAddress.parse(settings["oneprovider_host"], f"oneprovider_host of {provider.name}")
        try:
            space = encoded_path(settings["space"])
        except ValueError:
            raise ExplainedError(
                f"The space of {provider.name} is not a valid space name",
                advice="Expected its name, as Onedata shows it.",
                kind=ErrorKind.MISCONFIGURED,
            ) from None
        server = HttpServer(provider.name, address, {"X-Auth-Token": settings["token"]}, _understand)
        super().__init__(_Cdmi(server, space))


class _Cdmi:
    """CDMI as a `FileProtocol`."""

    def __init__(self, server: HttpServer, space: str) -> None:
        self.server = server
        self._space = space

    def url_path(self, path: str) -> str:
        return f"{self.server.address.path}/cdmi{self._space}{path}"

    def media_type(self, guessed: str) -> str:
        # Otherwise, the content of a file named `x.cdmio` would be interpreted as a command.
        return "application/octet-stream" if guessed.startswith("application/cdmi") else guessed

    def make_folder(self, path: str) -> ServerAnswer | None:
        answer = self.server.ask(
            "PUT",
            self.url_path(path) + "/",
            {**_VERSION, "Content-Type": "application/cdmi-container"},
            b"{}",
        )
        return None if answer.ok or answer.status == CONFLICT else answer

    def exists(self, path: str) -> bool:
        answer = self.server.ask("GET", self.url_path(path) + "?objectName", _VERSION)
        if answer.ok or answer.status == NOT_FOUND:
            return answer.ok
        raise StumbledError(f"{answer.said} to a GET")

    def rename(self, source: str, target: str) -> ServerAnswer:
        removed = self.server.ask("DELETE", self.url_path(target))
        if not removed.ok and removed.status != NOT_FOUND:
            return removed
        return self.server.ask(
            "PUT",
            self.url_path(target),
            {**_VERSION, "Content-Type": "application/cdmi-object"},
            json.dumps({"move": unquote(self._space + source)}).encode(),
        )


def _understand(answer: ServerAnswer) -> ServerAnswer:
    """The status for a POSIX error: Onedata answers 400 for all of them."""
    if answer.ok:
        return answer
    try:
        error = read_json(answer.body)["error"]
        errno, told = error.get("details", {}).get("errno"), str(error.get("description", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return answer
    status = _STATUS_OF_ERRNO.get(errno, answer.status) if isinstance(errno, str) else answer.status
    detail = told[:200] if told.isprintable() else ""
    return replace(answer, status=status if answer.status == BAD_REQUEST else answer.status, detail=detail)
