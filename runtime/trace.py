"""Which run wrote the input of a run, and which runs descend from the same input.

Each output on S3 has the metadata `traceparent` (https://www.w3.org/TR/trace-context/), which names the trace
and the run that wrote it. The run that reads the object continues the trace. An object without it, such as a
user's upload, begins a trace, whose id is derived from the object: all attempts, the Batch job that a run is
delegated to, and all functions that read the object have the same one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.storage.contract import TRACE_METADATA, StoredObject

VARIABLE = "SCAR_EVENT_TRACE"
"""Variable of a Batch job whose event names no object: the id of the trace."""

_HEADER = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_ID = re.compile(r"[0-9a-f]{32}")
_ID_DIGITS = 32
_SPAN_BYTES = 8


def _new_span() -> str:
    return os.urandom(_SPAN_BYTES).hex()


@dataclass(frozen=True, slots=True)
class Trace:
    """One run in a trace; ids are hexadecimal."""

    id: str
    parent: str | None = None
    """The span of the run that wrote the input; None: no run did."""
    span: str = field(default_factory=_new_span)

    @classmethod
    def of_object(cls, source: StoredObject, metadata: Mapping[str, str]) -> Trace:
        """Of a run that reads an object with this metadata, which is untrusted."""
        found = _HEADER.fullmatch(metadata.get(TRACE_METADATA, ""))
        if found is not None and found[1].strip("0") and found[2].strip("0"):
            return cls(found[1], found[2])
        return cls(_id_of(source.provider, source.bucket, source.key, source.etag or ""))

    @classmethod
    def of_request(cls, request_id: str, environ: Mapping[str, str]) -> Trace:
        """Of a run without an input object."""
        passed_on = environ.get(VARIABLE, "")
        return cls(passed_on if _ID.fullmatch(passed_on) else id_of_request(request_id))

    @property
    def header(self) -> str:
        """The value of `traceparent` for what this run writes."""
        return f"00-{self.id}-{self.span}-01"

    @property
    def fields(self) -> dict[str, object]:
        """As they appear in log lines."""
        parent = {} if self.parent is None else {"parent": self.parent}
        return {"trace": self.id, "span": self.span, **parent}


def id_of_request(request_id: str) -> str:
    """The id of the trace of a direct invocation or an HTTP request."""
    return _id_of("request", request_id)


def _id_of(*parts: str) -> str:
    import hashlib

    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()[:_ID_DIGITS]
