"""The container's environment, complete: nothing of the host's leaks in.

Later ones win:

1. query parameters of an HTTP request: a stranger's words override nothing (and those that would change how
   programs run are refused before, see `http_events`)
2. Docker's `PATH` (its `HOME` is set by the engine, which knows the user), and `TMPDIR`
3. the image's `ENV`
4. `CONT_VAR_*` of the function's environment, without the prefix
5. credentials and region (`AWS_DEFAULT_REGION` beside `AWS_REGION`, as not every SDK reads the latter; and
   `AWS_ENDPOINT_URL` where the runner itself has one, as on the embedded cloud)
6. `container.environment.Variables` of the FDL file
7. what the run is about: paths, key, event, request id
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from containers import aws
from runtime.config import FunctionConfig
from runtime.events.invocation import Invocation
from runtime.workspace import Workspace

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
    """Build it for one run; `image_env` holds `NAME=value` texts, `environ` is the runner's own
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
        granted.pop("AWS_SESSION_TOKEN", None)  # a token of the role makes another's key invalid
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
    if input_file is not None:
        variables["INPUT_FILE_PATH"] = str(input_file)
    if invocation.source is not None:
        variables["STORAGE_OBJECT_KEY"] = invocation.source.key
    if config.extra_payload is not None:
        variables["EXTRA_PAYLOAD"] = str(config.extra_payload)
    return variables


@cache
def instance_address() -> str:
    """The address that this machine speaks to the world from. No packet is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737: belongs to nobody
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
