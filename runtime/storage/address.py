"""Addresses of servers in FDL files, and paths below them.

Both are parsed strictly: an address or path that would be resolved to a different one is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from containers.errors import ErrorKind, ExplainedError


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Address of a server: scheme, host, port, and the path that all other paths are below."""

    scheme: str
    host: str
    port: int
    path: str = ""
    """Empty, or with a leading and without a trailing `/`; percent-encoded."""

    @classmethod
    def parse(cls, text: str, what: str) -> ServerAddress:
        """`HOST`, `HOST:PORT` or a URL; `https` by default.

        Raises `ExplainedError` (`Misconfigured`). The text may contain a misplaced password, so no message
        repeats it.
        """
        try:
            parts = urlsplit(text if "://" in text else f"https://{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        bad = not text.isascii() or not text.isprintable() or " " in text
        if bad or not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
            raise _bad_address(what, "is not the address of a server")
        if parts.username is not None or parts.password is not None:
            raise _bad_address(what, "contains a user name or a password")
        path = quote(parts.path.rstrip("/"), safe="/%~:@!$&'()*+,;=")
        return cls(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)

    @property
    def origin(self) -> str:
        """`scheme://host[:port]`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if self.scheme == "https" else 80)
        return f"{self.scheme}://{host}" + ("" if usual else f":{self.port}")

    @property
    def url(self) -> str:
        """All of it."""
        return self.origin + self.path


def encoded_path(*parts: str) -> str:
    """`/a/b` for `a`, `b`; each part is split at `/` and percent-encoded.

    Raises `ValueError` for `.`, `..` and empty segments, which servers resolve or drop: the result would be a
    different path.
    """
    segments = [segment for part in parts for segment in part.split("/")]
    for segment in segments:
        if segment in ("", ".", ".."):
            raise ValueError(segment)
    return "".join("/" + quote(segment, safe="") for segment in segments)


def _bad_address(what: str, problem: str) -> ExplainedError:
    return ExplainedError(
        f"The {what} {problem}",
        advice="Expected HOST, HOST:PORT or https://HOST/PATH; credentials have their own keys.",
        kind=ErrorKind.MISCONFIGURED,
    )
