"""The complete environment of the container. No variable of the host is passed on.

Later ones override earlier ones:

1. query parameters of an HTTP request, which are untrusted (`http_events` has rejected those that would
   change how programs run)
2. Docker's `PATH` (the engine sets `HOME`, as it knows the user), and `TMPDIR`
3. the image's `ENV`
4. `CONT_VAR_*` of the function's environment, without the prefix
5. credentials and region (also as `AWS_DEFAULT_REGION`, because not every SDK reads `AWS_REGION`; and
   `AWS_ENDPOINT_URL` if the runner has one, as on the embedded cloud)
6. `container.environment.Variables` of the FDL file
7. the variables of the run: paths, key, event, request id; in a Batch job, `AWS_BATCH_…`
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from containers import aws
from runtime.config import FunctionConfig, StorageFolder
from runtime.events.invocation import Invocation
from runtime.storage.contract import StoredObject
from runtime.workspace import Workspace, file_name

DOCKERS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PREFIX = "CONT_VAR_"


def container_environment(
    invocation: Invocation,
    config: FunctionConfig,
    workspace: Workspace,
    *,
    input_file: Path | None,
    request_id: str,
    environ: Mapping[str, str],
    image_env: Iterable[str],
) -> dict[str, str]:
    """The variables for one run. `image_env` contains `NAME=value` strings; `environ` is the runner's own
    environment."""
    variables = {**invocation.variables, "PATH": DOCKERS_PATH, "TMPDIR": str(workspace.temporary)}
    variables |= dict(text.split("=", 1) for text in image_env if "=" in text)
    variables |= {
        name.removeprefix(PREFIX): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and name != PREFIX
    }
    owner = config.container_environment
    granted = aws.credentials(environ)
    if "AWS_ACCESS_KEY_ID" in owner and "AWS_SESSION_TOKEN" not in owner:
        granted.pop("AWS_SESSION_TOKEN", None)  # the role's token does not belong to the owner's key
    variables |= granted
    variables |= owner
    variables |= {
        "TMP_INPUT_DIR": str(workspace.input),
        "TMP_OUTPUT_DIR": str(workspace.output),
        "EVENT": invocation.event_variable(),
        "EVENT_TIME": invocation.time,
        "REQUEST_ID": request_id,
        "AWS_LAMBDA_REQUEST_ID": request_id,
        "INSTANCE_IP": instance_address(),
    }
    variables |= {name: value for name, value in environ.items() if name.startswith("AWS_BATCH_")}
    if input_file is not None:
        variables["INPUT_FILE_PATH"] = str(input_file)
    if invocation.source is not None:
        variables["STORAGE_OBJECT_KEY"] = invocation.source.key
        variables["SCAR_INPUT_FOLDER"] = input_folder(invocation.source, config.inputs)
    if config.extra_payload is not None:
        variables["EXTRA_PAYLOAD"] = str(config.extra_payload)
    return variables


def input_folder(source: StoredObject, inputs: Iterable[StorageFolder]) -> str:
    """The object's folder below the input that contains it (`a/b`), or empty if it is directly in the input.

    Keys are untrusted: parts that are not file names, such as `..`, are replaced as in `file_name`.
    """
    prefixes = (
        entry.key_prefix for entry in inputs if entry.contains(source.provider, source.bucket, source.key)
    )
    below = source.key.removeprefix(max(prefixes, key=len, default=""))
    return "/".join(map(file_name, below.split("/")[:-1]))


@cache
def instance_address() -> str:
    """The address of this machine on its network, determined without sending a packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737: not assigned
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
