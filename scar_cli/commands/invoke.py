"""`scar invoke`: call a function through its HTTP endpoint.

An API key is read from API Gateway and sent in a header only. An endpoint that requires an AWS signature gets
one. Redirections are not followed: neither may be sent to another host.
"""

from __future__ import annotations

import http.client
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Unpack

import click

from scar_cli.aws.deployed import DeployedFunction, one_selected, reachable_url
from scar_cli.aws.session import botocore_session, client, explained
from scar_cli.errors import UserError
from scar_cli.examples import with_examples
from scar_cli.files import read_file, require_writable, write_file
from scar_cli.options import Choice, prints_json, selects_functions
from scar_cli.table import printable_lines

_BODY_LIMIT = 6 * 1024**2
"""Lambda accepts no longer events, and a binary body is sent in base64."""
_ANSWER_WITHIN_S = 60
_FAILED = 400
_FORBIDDEN = 403


@with_examples(
    "invoke",
    "scar invoke -n my-function -p name=value",
    "scar invoke -n my-function -db photo.jpg -o response.png",
    "scar invoke -n my-function -jd '{\"a\": 1}'",
)
@selects_functions
@click.option("-db", "--data-binary", metavar="FILE", help="POST this file.")
@click.option("-jd", "--json-data", metavar="JSON", help="POST this JSON, or the JSON file with this name.")
@click.option(
    "-p",
    "--parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Add query parameters: NAME=VALUE, or a JSON object. Can be repeated.",
)
@click.option("-a", "--asynchronous", is_flag=True, help="Do not wait for the run to finish.")
@click.option("-o", "--output", "--output-file", metavar="FILE", help="Write the response to this file.")
@prints_json
def command(
    *,
    data_binary: str | None,
    json_data: str | None,
    parameters: tuple[str, ...],
    asynchronous: bool,
    output: str | None,
    as_json: bool,
    **choice: Unpack[Choice],
) -> int:
    """Call the HTTP endpoint of a function: GET, or POST with a body.

    The exit code is 1 if the response is an error.
    """
    if output is not None:
        require_writable(output)
    function = one_selected(**choice, fits=lambda one: one.api_url is not None)
    if function.api_url is None:
        raise UserError(
            f"The function {function.name} has no HTTP endpoint",
            "Add `api_gateway` to the FDL file, or use scar run",
        )
    body, headers = _body(data_binary, json_data)
    if asynchronous:
        headers["X-Amz-Invocation-Type"] = "Event"
    status, kind, content = _call(function, query(parameters), body, headers)
    if output is not None and status < _FAILED:
        write_file(output, content)
    if as_json:
        text = content.decode(errors="replace")
        click.echo(json.dumps({"StatusCode": status, "ContentType": kind, "Payload": text}))
    elif status >= _FAILED:
        click.echo(f"scar: {function.name} responded with {status}: {_reason(content)}", err=True)
    elif output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        if sys.stdout.isatty() and not content.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
    return 1 if status >= _FAILED else 0


def query(parameters: tuple[str, ...]) -> str:
    """The query string of `NAME=VALUE`s and JSON objects.

    Raises:
        UserError: one is neither.
    """
    pairs: list[tuple[str, str]] = []
    for text in parameters:
        if text.lstrip().startswith("{"):
            try:
                pairs += [
                    (str(key), value if isinstance(value, str) else json.dumps(value))
                    for key, value in json.loads(text).items()
                ]
                continue
            except (ValueError, RecursionError):
                pass
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserError(f"Invalid parameter: {text!r}", 'Use NAME=VALUE, or {"NAME": "VALUE"}')
        pairs.append((key, value))
    # A signature requires `%20` for a space.
    return urllib.parse.urlencode(pairs, quote_via=urllib.parse.quote)


def _body(data_binary: str | None, json_data: str | None) -> tuple[bytes | None, dict[str, str]]:
    if data_binary is not None and json_data is not None:
        raise UserError("-db and -jd cannot be used together", "Use only one of them")
    if data_binary is not None:
        return _content(data_binary), {"Content-Type": "application/octet-stream"}
    if json_data is None:
        return None, {}
    body = json_data.encode()
    if not _is_json(body):
        if not Path(json_data).is_file():
            raise UserError("-jd is neither JSON nor a file", "Quote the JSON: -jd '{\"name\": 1}'")
        body = _content(json_data)
        if not _is_json(body):
            raise UserError(f"{json_data} is not valid JSON", "Send it with -db")
    return body, {"Content-Type": "application/json"}


def _content(path: str) -> bytes:
    content = read_file(path, limit=_BODY_LIMIT + 1)
    if len(content) > _BODY_LIMIT:
        raise UserError(f"{path} is too large for a request", "Upload it instead: scar put")
    return content


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _call(
    function: DeployedFunction, parameters: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, str, bytes]:
    """Status, content type and content of the response."""
    gateway = client("apigateway", region=function.region)
    url = reachable_url(function.api_url or "", gateway.meta.endpoint_url)
    if parameters:
        url += f"?{parameters}"
    if function.api_key_id is not None:
        with explained():
            key = gateway.get_api_key(apiKey=function.api_key_id, includeValue=True)
        headers["x-api-key"] = key["value"]
    status, kind, content = _send(url, body, headers)
    if status == _FORBIDDEN and b"Missing Authentication Token" in content:
        status, kind, content = _send(url, body, _signed(function.region, url, body, headers))
    return status, kind, content


def _send(url: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str, bytes]:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirection()]
    if urllib.parse.urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1"):
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 (from the stack's output)
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_ANSWER_WITHIN_S) as response:
            return response.status, response.headers.get("Content-Type", ""), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Content-Type", ""), error.read()
    except (OSError, http.client.HTTPException) as error:
        host = urllib.parse.urlsplit(url).netloc
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{host} does not respond: {reason}", "Check the network connection") from error


def _signed(region: str, url: str, body: bytes | None, headers: dict[str, str]) -> dict[str, str]:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    credentials = botocore_session().get_credentials()
    if credentials is None:
        return headers
    request = AWSRequest("GET" if body is None else "POST", url, data=body, headers=headers)
    SigV4Auth(credentials.get_frozen_credentials(), "execute-api", region).add_auth(request)
    return dict(request.headers.items())


def _reason(content: bytes) -> str:
    text = content.decode(errors="replace")
    try:
        told: Any = json.loads(text)
        text = str(told["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return printable_lines(text[:2000]).strip()


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_request: Any) -> None:
        return None
