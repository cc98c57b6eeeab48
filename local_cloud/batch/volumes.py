"""EFS file systems of jobs: folders below the cloud's state folder.

A file system need not have been created here: templates name those of an AWS account.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import efs

from containers.errors import ErrorKind
from local_cloud.batch.records import Scope
from local_cloud.containers.processes import ContainerFailedError
from local_cloud.containers.task import Mount

_ID = re.compile(r"[A-Za-z0-9-]+")
_FOR_EVERYBODY = 0o777
"""An access point acts as its own user, whoever uses it."""


def mounts(scope: Scope, container: Mapping[str, Any], folder: Path) -> list[Mount]:
    """What of `folder` a container sees, and where. The folders are made if they are missing.

    Raises:
        ContainerFailedError: an identifier or a path is invalid.
    """
    volumes = {
        volume["name"]: volume["efsVolumeConfiguration"]
        for volume in container.get("volumes") or []
        if "efsVolumeConfiguration" in volume
    }
    found = []
    for point in container.get("mountPoints") or []:
        if (volume := volumes.get(point["sourceVolume"])) is not None:
            source = _folder_of(scope, volume, folder)
            found.append(Mount(str(source), point["containerPath"], bool(point.get("readOnly"))))
    return found


def _folder_of(scope: Scope, volume: Mapping[str, Any], folder: Path) -> Path:
    system = volume["fileSystemId"]
    access_point = (volume.get("authorizationConfig") or {}).get("accessPointId")
    path = volume.get("rootDirectory") or "/"
    if access_point:
        with request_scope(scope.account, scope.region):
            known = efs._access_points.get(access_point)
        path = known["RootDirectory"].get("Path", "/") if known else f"/{access_point}"
    parts = [part for part in path.split("/") if part]
    if not _ID.fullmatch(system) or ".." in parts:
        raise ContainerFailedError(
            ErrorKind.CANNOT_START, f"The EFS volume {system}:{path} is invalid: expected an ID and a path"
        )
    source = folder.joinpath(system, *parts)
    source.mkdir(parents=True, exist_ok=True)
    if access_point:
        source.chmod(_FOR_EVERYBODY)
    return source
