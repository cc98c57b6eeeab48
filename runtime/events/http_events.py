"""API Gateway proxy requests (payload format 1.0 of REST APIs, 2.0 of HTTP APIs and function URLs), those of
Application Load Balancers, and their answers.

Requests are untrusted. Query parameters become variables of the container, except those that change how
programs start, find files or reach AWS (`RESERVED`; such a list is never complete), and in `environment` they
override neither the settings of the function's owner nor the image's `ENV`. A request cannot choose what
runs.

A request with the header `X-Amz-Invocation-Type: Event` is answered at once (`http_async`). It runs, and
fails, like an event.

Answers: 200 with the container's standard output; 4xx for the caller's fault, 5xx for ours, both with a
JSON body `{"error", "message", "request_id"}`. The container's output is not part of an error answer, only of
the log.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, TypeGuard
from urllib.parse import unquote_plus

from containers.bounded_json import JsonError, read_json
from containers.errors import ErrorKind, ExplainedError
from runtime.events.invocation import VARIABLE_LIMIT, Invocation, iso_time

ANSWER_LIMIT = 6 * 1024 * 1024 - 64 * 1024
"""The maximum size of a Lambda response is 6 MB
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""

RESERVED = re.compile(
    # Families, in any case. How programs start and what they load: the linker, interpreters, build tools.
    r"(LD|DYLD|GLIBC|MALLOC|GCONV|BASH|PERL|PYTHON|RUBY|GEM|BUNDLE|NODE|NPM|YARN|DENO|BUN|JAVA|JDK|_JAVA|JVM|LUA"
    r"|PHP|TCL|R|JULIA|OCAML|CAML|GUILE|ERL|DOTNET|CORECLR|COMPLUS|MONO|RUST|CARGO|CONDA|PIP|PKG|MAKE|CMAKE"
    # Options that common programs take from the environment, and where they find modules and data.
    r"|GIT|SSH|RSYNC|CURL|WGET|SSL|OPENSSL|KRB5|XDG|GTK|QT|GIO|GST|MAGICK|FFMPEG|GDAL|PROJ|HDF5|OMP|KMP|CUDA"
    r"|NVIDIA|OCL|VK|LIBGL|MPI|OMPI|TF|TORCH|HF|GREP|TAR|ZSTD|XZ|DOCKER|KUBE"
    # AWS and other clouds, and what this runner and its engines read.
    r"|AWS|GOOGLE|AZURE|FAKECHROOT|FAKEROOT|PROOT|SCAR|CONT_VAR)_.*"
    r"|(ALL|HTTP|HTTPS|FTP|NO)_PROXY|.*_CA_BUNDLE|RES_OPTIONS|LESS(OPEN|CLOSE|KEY)"
    # Case-sensitive words: `user` and `path` are ordinary parameters.
    r"|(?-i:_?(PYTHON|PERL|RUBY|JAVA)[A-Z0-9_]*|LUA_?C?PATH[0-9_]*|TCLLIBPATH|CLASSPATH|PHPRC|BASHOPTS|GODEBUG"
    r"|MAKEFLAGS|MAKEFILES|CC|CXX|CFLAGS|CXXFLAGS|LDFLAGS|VIRTUAL_ENV"
    r"|PATH|HOME|PWD|OLDPWD|USER|LOGNAME|USERNAME|UID|EUID|SHELL|SHELLOPTS|ENV|IFS|CDPATH|FPATH|ZDOTDIR|PS[0-9]"
    r"|PROMPT_COMMAND|EXECIGNORE|GLOBIGNORE|POSIXLY_CORRECT|HISTFILE|INPUTRC|OPTIND|TMP|TEMP|TMPDIR|HOSTNAME"
    r"|EDITOR|VISUAL|PAGER|MANPAGER|BROWSER|LESS|TERM|TERM(CAP|INFO|INFO_DIRS)"
    r"|FFREPORT|MAGIC|WGETRC|NETRC|SSLKEYLOGFILE|KUBECONFIG|GZIP|BZIP2?|ZIPOPT|UNZIP|LOCPATH|NLSPATH|TZDIR"
    r"|HOSTALIASES|LOCALDOMAIN|FAKECHROOTKEY|FAKEROOTKEY"
    r"|EVENT|EVENT_TIME|REQUEST_ID|INSTANCE_IP|EXTRA_PAYLOAD|INPUT_FILE_PATH|STORAGE_OBJECT_KEY|TMP_INPUT_DIR"
    r"|TMP_OUTPUT_DIR)",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

_TIMES_END_MS = 253_402_300_800_000
"""The year 10 000, the first without a four-digit form in ISO 8601."""

CALLERS_FAULT = {
    ErrorKind.BAD_EVENT: 400,
    ErrorKind.BAD_REQUEST: 400,
    ErrorKind.METHOD_NOT_ALLOWED: 405,
    ErrorKind.EVENT_TOO_LARGE: 413,
}
OUR_FAULT = {ErrorKind.TIMED_OUT: 504}


def is_http(event: object) -> TypeGuard[dict[str, Any]]:
    """Whether the event is a proxy request."""
    if not isinstance(event, dict) or not isinstance(event.get("requestContext"), dict):
        return False
    return "httpMethod" in event or isinstance(event["requestContext"].get("http"), dict)


def read_request(event: dict[str, Any]) -> Invocation:
    """The invocation for a request. Raises `ExplainedError` of a kind in `CALLERS_FAULT`."""
    context = event["requestContext"]
    http = context.get("http")
    method = event.get("httpMethod") or (http.get("method") if isinstance(http, dict) else None)
    if not isinstance(method, str) or method.upper() not in ("GET", "POST"):
        raise ExplainedError(
            f"The method {method} is not supported"
            if isinstance(method, str)
            else "The request has no method",
            advice="Use GET or POST.",
            kind=ErrorKind.METHOD_NOT_ALLOWED,
        )
    return Invocation(
        event=event,
        time=iso_time(request_time_s(event)),
        body=_body(event),
        variables=_variables(event),
        http=True,
        awaited=is_awaited(event),
    )


def is_awaited(event: dict[str, Any]) -> bool:
    """Whether the caller waits for the answer."""
    headers = event.get("headers")
    if not isinstance(headers, dict):
        return True
    return not any(
        str(name).lower() == "x-amz-invocation-type" and str(value).lower() == "event"
        for name, value in headers.items()
    )


def answer_output(output: bytes) -> dict[str, Any]:
    """200 with the container's standard output: text unchanged, anything else in base64."""
    try:
        text = output.decode()
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:
        return _answer(200, "application/octet-stream", base64.b64encode(output).decode(), in_base64=True)
    return _answer(200, _text_type(text), text)


def answer_accepted(job_id: str, request_id: str) -> dict[str, Any]:
    """202: a Batch job runs the request; its result is not returned to the caller."""
    return _json(202, {"job_id": job_id, "request_id": request_id})


def answer_handed_on(request_id: str) -> dict[str, Any]:
    """202: an asynchronous invocation runs the request; its result is not returned to the caller."""
    return _json(202, {"request_id": request_id})


def answer_error(error: ExplainedError, request_id: str) -> dict[str, Any]:
    """4xx for the caller's fault, 5xx for ours."""
    status = CALLERS_FAULT.get(error.kind) or OUR_FAULT.get(error.kind, 500)
    return _json(status, {"error": error.kind, "message": str(error), "request_id": request_id})


def _json(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return _answer(status, "application/json", json.dumps(content))


def _answer(status: int, kind: str, body: str, *, in_base64: bool = False) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"Content-Type": kind},
        "body": body,
        "isBase64Encoded": in_base64,
    }


def _text_type(text: str) -> str:
    if text.lstrip()[:1] in ("{", "["):
        try:
            read_json(text)
        except JsonError:
            pass
        else:
            return "application/json"
    return "text/plain; charset=utf-8"


def _body(event: dict[str, Any]) -> bytes | None:
    body = event.get("body")
    if not body:
        return None
    if not isinstance(body, str):
        raise _bad("The body of the request is not text")
    if not event.get("isBase64Encoded"):
        return body.encode(errors="surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise _bad("The body of the request is marked as base64, but is not valid base64") from None


def _variables(event: dict[str, Any]) -> dict[str, str]:
    """Names that no variable can have (`utm-source`) appear in `EVENT` only; reserved ones are rejected."""
    single, several = event.get("queryStringParameters"), event.get("multiValueQueryStringParameters")
    found = dict(single) if isinstance(single, dict) else {}
    several = several if isinstance(several, dict) else {}
    found |= {
        name: ",".join(_text(name, value) for value in values)
        for name, values in several.items()
        if isinstance(values, list)
    }
    # A load balancer passes parameters on without decoding them:
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
    decode = unquote_plus if "elb" in event["requestContext"] else str
    variables = {}
    for encoded, given in found.items():
        name, value = decode(encoded), decode(_text(encoded, given))
        if RESERVED.fullmatch(name):
            raise _bad(f"The name of the query parameter {name} is reserved", "Use another name.")
        if "\0" in value or not _is_unicode(value):
            raise _bad(f"The query parameter {name!a} contains a NUL character or invalid Unicode")
        if len(name) + 1 + len(value.encode()) > VARIABLE_LIMIT:
            raise _bad(
                f"The query parameter {name!a} is too long", "Send long data as the body of the request."
            )
        if _VARIABLE.fullmatch(name):
            variables[name] = value
    return variables


def _text(name: str, value: object) -> str:
    try:
        if isinstance(value, str | int | float):
            return str(value)
    except ValueError:  # an integer with more digits than Python writes
        pass
    raise _bad(f"The query parameter {name!a} is not a string")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def request_time_s(event: dict[str, Any]) -> float | None:
    """When the gateway received the request, in seconds since 1970; None: not in the event.

    Raises `ExplainedError` of kind `BadRequest` for an invalid time: another caller of the function can send
    any value.
    """
    context = event["requestContext"]
    for name in ("requestTimeEpoch", "timeEpoch"):
        if (milliseconds := context.get(name)) is not None:
            if type(milliseconds) not in (int, float) or not 0 <= milliseconds < _TIMES_END_MS:
                raise _bad(f"`{name}` of the request is invalid", "Expected milliseconds since 1970.")
            return float(milliseconds) / 1000
    return None


def _bad(cause: str, advice: str = "") -> ExplainedError:
    return ExplainedError(cause, advice=advice, kind=ErrorKind.BAD_REQUEST)
