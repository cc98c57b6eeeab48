"""EFS file systems of jobs: folders below the cloud's state folder.

Templates name file systems and access points of an AWS account, so these need not exist here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import efs

from containers.errors import ErrorKind
from local_cloud.batch.records import Scope
from local_cloud.containers.processes import ContainerFailedError
from local_cloud.containers.task import Mount
from local_cloud.patches import Original, replaces

_ID = re.compile(r"[A-Za-z0-9-]+")
_ACCESS_POINT = re.compile(r"fsap-[0-9a-f]{8,40}")
_FOR_EVERYBODY = 0o777
"""An access point acts as its own user, whoever uses it."""


def install() -> None:
    """Describe access points that do not exist, too: deployments read the ID of the file system from them."""

    @replaces(efs, "_describe_access_points")
    def describe(describe: Original, query: Mapping[str, str]) -> Any:
        name = query.get("AccessPointId") or ""
        if name in efs._access_points or not _ACCESS_POINT.fullmatch(name):
            return describe(query)
        arn = f"arn:aws:elasticfilesystem:{get_region()}:{get_account_id()}:access-point/{name}"
        found = {
            "AccessPointId": name,
            "AccessPointArn": arn,
            "FileSystemId": name.replace("fsap-", "fs-", 1),
            "LifeCycleState": "available",
            "OwnerId": get_account_id(),
        }
        return efs._json(200, {"AccessPoints": [found]})


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
