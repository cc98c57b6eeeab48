"""The source of udocker's tools: none, a file, or udocker's own download.

A deployment of functions in pulled mode to AWS needs them (see `udocker_tools`). A deployment to the embedded
cloud, or a synthesis only to read the template, does not. The first condition that applies decides, among
them the variables that the CDK CLI sets:

| the first of these that is set | what is packaged |
|---|---|
| `-c udocker_tools=none` | nothing |
| `UDOCKER_TARBALL` | that tarball: a file, or URLs of one, separated by spaces (udocker's own rule) |
| `AWS_ENDPOINT_URL` | nothing: this is not AWS |
| `-c udocker_tools=download` or `=sha256:DIGEST` | udocker's own release |
| `CDK_DEFAULT_ACCOUNT` | the same |
| none of them | nothing, with a warning: without an account, a template can only be read |

Downloads use https only and are kept in the user's cache folder. udocker publishes no checksum of its tools:
the checksum of the download is printed, and `sha256:DIGEST` pins it.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from scar_constructs.deployment import UDOCKER_TOOLS, DeploymentError

UDOCKER_TARBALL = "UDOCKER_TARBALL"
"""udocker's own environment variable: path or URLs of the tarball."""

RELEASE = (
    "https://download.a.incd.pt/udocker/udocker-englib-1.2.11.tar.gz",
    "https://raw.githubusercontent.com/jorge-lip/udocker-builds/master/tarballs/udocker-englib-1.2.11.tar.gz",
)
"""Where udocker 1.3.17 gets its tools (its `config.py`, `tarball`)."""

_ADVICE = (
    "Functions with `runtime: python3.13` need them on AWS Lambda. Download udocker-englib-*.tar.gz "
    "(https://github.com/indigo-dc/udocker) and set UDOCKER_TARBALL to its path, or, only to read the "
    "template, synthesize without them: -c udocker_tools=none"
)
_WARNING = (
    "udocker's tools are not in the runner's package, because no AWS account is known. On AWS, functions "
    "with `runtime: python3.13` would fail. Synthesize with credentials of the account, with "
    "UDOCKER_TARBALL, or with -c udocker_tools=download; -c udocker_tools=none turns this warning off."
)
_MAXIMUM_BYTES = 256 << 20
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PROBLEMS = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class UdockerTools:
    """The tarball to package, or else a warning for the user."""

    tarball: Path | None = None
    warning: str | None = None


def find_udocker_tools(choice: str | None, environ: Mapping[str, str]) -> UdockerTools:
    """The tarball to package, downloaded now if needed.

    :param choice: the context value `udocker_tools`, checked.
    :raises DeploymentError: the tools are needed, but not available.
    """
    given = environ.get(UDOCKER_TARBALL, "")
    if choice == "none":
        return UdockerTools()
    digest = choice.removeprefix("sha256:") if choice and choice.startswith("sha256:") else None
    if given and "://" not in given:
        return UdockerTools(_file(Path(given), digest))
    if not given:
        if any(environ.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDFORMATION")):
            return UdockerTools()
        if choice is None and not environ.get("CDK_DEFAULT_ACCOUNT"):
            return UdockerTools(warning=_WARNING)
    return UdockerTools(download(given.split() or RELEASE, digest, _cache_folder(environ)))


def download(urls: Sequence[str], digest: str | None, cache: Path) -> Path:
    """The tarball at these URLs, from the cache or from the first URL that answers.

    :param digest: the SHA-256 that it must have, if it is known.
    :raises DeploymentError: no URL delivers it.
    """
    key = hashlib.sha256(" ".join(urls).encode()).hexdigest()[:16]
    kept = cache / f"{key}-{re.sub(r'[^A-Za-z0-9._-]', '_', urlsplit(urls[0]).path.rpartition('/')[2])}"
    if kept.is_file() and (digest is None or _digest(kept) == digest):
        return kept
    failures: list[str] = []
    for url in urls:
        try:
            _check_address(url)
            cache.mkdir(parents=True, exist_ok=True)
            found = _fetch(url, kept, digest)
        except _PROBLEMS as error:
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        if digest is None:
            pin = f"pin it with -c {UDOCKER_TOOLS}=sha256:{found}"
            print(
                f"udocker's tools: downloaded {url} to {kept}; to use the same file again, {pin}",
                file=sys.stderr,
            )
        return kept
    raise DeploymentError(f"udocker's tools cannot be fetched ({'; '.join(failures)}). {_ADVICE}")


def _file(path: Path, digest: str | None) -> Path:
    try:
        found = _digest(path)
    except OSError as error:
        raise DeploymentError(
            f"{UDOCKER_TARBALL}={path} cannot be read: {error.strerror}. {_ADVICE}"
        ) from error
    if digest not in (None, found):
        raise DeploymentError(
            f"{UDOCKER_TARBALL}={path} has SHA-256 {found}, -c {UDOCKER_TOOLS} expects {digest}"
        )
    return path


def _fetch(url: str, kept: Path, digest: str | None) -> str:
    """Download to a file, which appears when it is complete and verified; returns its SHA-256."""
    partial = kept.with_name(f"{kept.name}.{secrets.token_hex(4)}")
    opener = urllib.request.build_opener(_SafeRedirects())
    try:
        with opener.open(url, timeout=_TIMEOUT_S) as answer, partial.open("xb") as file:
            _copy(answer, file)
            announced = answer.headers.get("Content-Length", "")
            if announced.isdigit() and file.tell() != int(announced):
                raise ValueError(f"the connection was cut after {file.tell()} of {announced} bytes")
        found = _digest(partial)
        if digest not in (None, found):
            raise ValueError(f"its SHA-256 is {found}, expected {digest}")
        with partial.open("rb") as file:
            if file.read(2) != b"\x1f\x8b":
                raise ValueError("it is not a gzip file")
        partial.replace(kept)
    finally:
        partial.unlink(missing_ok=True)
    return found


def _copy(answer: IO[bytes], file: IO[bytes]) -> None:
    while chunk := answer.read(_CHUNK):
        file.write(chunk)
        if file.tell() > _MAXIMUM_BYTES:
            raise ValueError(f"it is larger than {_MAXIMUM_BYTES >> 20} MiB")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Only from https to https, because these are programs."""

    def redirect_request(  # noqa: PLR0917 - as the library calls it
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str) -> None:
    address = urlsplit(url)
    if address.scheme != "https" and not (address.scheme == "http" and address.hostname in _LOOPBACK):
        raise ValueError("programs are downloaded over https only")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache_folder(environ: Mapping[str, str]) -> Path:
    if os.name == "nt" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"], "scar-cdk", "cache")
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scar-cdk"
