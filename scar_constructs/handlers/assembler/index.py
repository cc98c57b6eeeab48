"""Custom resource `Custom::ScarAssembledImage`: assembles an image for Lambda and Batch, in ECR.

Create and Update assemble the image of a function (`containers.assembly`) and respond with its URI. Near
the end of its 15 minutes, a run passes the event to the next run, which continues; the last run responds.
Delete does nothing: a rollback needs the previous image, and the repository is emptied with the stack.

| property | |
|---|---|
| `FunctionName` | the function |
| `RepositoryName`, `RepositoryUri` | the stack's repository |
| `Image`, or `Archive` | a reference, or `s3://bucket/key` |
| `PackageType` | `Image` or `Zip`: that of the function (in `batch` mode, a zip function submits jobs) |
| `Architecture` | `x86_64` or `arm64`; that of this function |
| `Package` | `s3://bucket/key` of the function's package |
| `RegistryCredentials`, `RegistryMirrors`, `Refresh` | optional, see `containers.assembly.Wanted` |
| `Runner` | hash of this function's code: another runner is an update |
"""

import base64
import json
import os
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import ClientError

from containers import asking, aws
from containers.assembly import OutOfTime, TargetRepository, Wanted, assemble, this_runner
from containers.errors import ErrorKind, ExplainedError
from containers.image.manifests import host_architecture
from containers.registry.ranges import S3Object

ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
PACKAGE_TYPES = {"Zip": "a zip function", "Image": "an image function"}
MARGIN_S = 60.0
"""Seconds before the timeout of this function when it stops transfers and starts the next invocation."""

MAXIMUM_RUNS = 4
"""Of 15 minutes each: CloudFormation waits for an hour."""

RUN = "ScarRun"
"""Key in the event of a continued assembly: the number of the run."""


def handler(event: dict[str, Any], context: Any) -> None:
    """Handle a request, and respond in any case: without a response, CloudFormation waits for an hour."""
    asking.this_process_is(asking.ASSEMBLER)
    wish = event["ResourceProperties"]
    answer: dict[str, Any] = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")}
    name = f"{wish['RepositoryName']}/{wish['FunctionName']}"
    answer["PhysicalResourceId"] = name
    try:
        if event["RequestType"] == "Delete":
            answer["PhysicalResourceId"] = event.get("PhysicalResourceId", name)
        else:
            answer["Data"] = image(wish, deadline=_deadline(context))
        answer["Status"] = "SUCCESS"
    except OutOfTime:
        run = int(event.get(RUN, 1))
        if run < MAXIMUM_RUNS:
            _log("handing over", {"function": wish["FunctionName"], "run": run})
            aws.client("lambda").invoke(
                FunctionName=context.invoked_function_arn,
                InvocationType="Event",
                Payload=json.dumps({**event, RUN: run + 1}).encode(),
            )
            return
        answer.update(
            Status="FAILED",
            Reason=f"image of function {wish['FunctionName']}: not finished within an hour. Deploy again: "
            "layers that were copied are not copied again",
        )
    except ExplainedError as problem:
        answer.update(Status="FAILED", Reason=f"image of function {wish['FunctionName']}: {problem}"[:1000])
    except Exception as problem:
        traceback.print_exc()
        reason = f"image of function {wish['FunctionName']}: {type(problem).__name__}: {problem}"
        answer.update(Status="FAILED", Reason=reason[:1000])
    _respond(event["ResponseURL"], answer)


def image(wish: Mapping[str, str], *, deadline: float | None) -> dict[str, str]:
    """The attributes of the resource. Raises ExplainedError, and OutOfTime."""
    architecture = ARCHITECTURES[wish["Architecture"]]
    if architecture != host_architecture():
        raise ExplainedError(
            f"an image for {architecture} cannot be assembled on {host_architecture()}: the runner would "
            f"not match",
            advice="This is a bug in scar-cdk. Please report it",
            kind=ErrorKind.WRONG_ARCHITECTURE,
        )
    _check_package_type(wish)
    target = _target(wish["RepositoryName"])
    with tempfile.TemporaryFile() as package:
        _download(wish["Package"], package)
        wanted = Wanted(
            function=wish["FunctionName"],
            package=package,
            architecture=architecture,
            image=wish.get("Image") or None,
            archive=wish.get("Archive") or None,
            mirrors=wish.get("RegistryMirrors") or os.environ.get("SCAR_REGISTRY_MIRRORS", ""),
            registry_credentials=wish.get("RegistryCredentials") or None,
            refresh=wish.get("Refresh", ""),
        )
        done = assemble(wanted, target, this_runner(Path(tempfile.gettempdir())), deadline=deadline, log=_log)
    return {
        "ImageUri": f"{wish['RepositoryUri']}@{done.digest}",
        "Digest": done.digest,
        "SourceDigest": done.source_digest,
    }


def _check_package_type(wish: Mapping[str, str]) -> None:
    """Before anything is moved: Lambda cannot change a function's package type, so that CloudFormation would
    fail after the image has been assembled. Raises ExplainedError."""
    name, wanted = wish["FunctionName"], wish.get("PackageType")
    try:
        deployed = aws.client("lambda").get_function_configuration(FunctionName=name).get("PackageType")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            _log("the deployed function cannot be read", {"function": name, "cause": str(error)})
        return
    if wanted and deployed and wanted != deployed:
        other = ", or set `runtime: python3.13`" if wanted == "Image" else ""
        raise ExplainedError(
            f"the function {name} is deployed as {PACKAGE_TYPES[deployed]}, and AWS Lambda cannot convert it "
            f"to {PACKAGE_TYPES[wanted]}",
            advice=f"Remove it first (scar rm -n {name}; buckets and files are kept), give it another "
            f"name{other}",
            kind=ErrorKind.OTHER_PACKAGE_TYPE,
        )


def _target(repository: str) -> TargetRepository:
    """The repository in this account's ECR. One login is enough: it is valid for twelve hours."""
    data = aws.client("ecr").get_authorization_token()["authorizationData"][0]
    username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    origin = data["proxyEndpoint"].rstrip("/")
    return TargetRepository(origin, repository, credentials=lambda _host: (username, password))


def _download(address: str, file: IO[bytes]) -> None:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    found = S3Object(bucket, key, f"the function's package {address}")
    stream = found.stream(0, found.size)
    while chunk := stream.read(1 << 20):
        file.write(chunk)
    stream.close()
    file.flush()


def _deadline(context: Any) -> float:
    return time.monotonic() + float(context.get_remaining_time_in_millis()) / 1000 - MARGIN_S


def _respond(url: str, answer: Mapping[str, Any], pause: Callable[[float], None] = time.sleep) -> None:
    """Send the response to CloudFormation, and retry if the network fails."""
    _log("answer", {key: answer.get(key) for key in ("Status", "Reason", "PhysicalResourceId", "Data")})
    request = urllib.request.Request(  # noqa: S310 (CloudFormation's own address)
        url, json.dumps(answer).encode(), {"Content-Type": ""}, method="PUT"
    )
    for wait_s in (1.0, 3.0, 9.0, None):
        try:
            urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
        except OSError as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500  # noqa: PLR2004
            if wait_s is None or refused:
                raise
            pause(wait_s)
        else:
            return


def _log(message: str, fields: Mapping[str, object]) -> None:
    print(json.dumps({"message": message, **fields}))
