"""EFS file systems in jobs.

FDL files contain access points, as for AWS Lambda. Batch also requires the file system of an access point,
which the access point's ARN does not contain. A custom resource looks it up when the stack is deployed.
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_batch as batch
from aws_cdk import aws_iam as iam
from constructs import Construct

from fdl_schemas.model import FileSystem
from scar_constructs.functions.handler_function import HandlerFunction
from scar_constructs.functions.network import grant_mount

Volumes = Sequence[batch.CfnJobDefinition.VolumesProperty]
MountPoints = Sequence[batch.CfnJobDefinition.MountPointsProperty]


def mounted(
    scope: Construct, file_systems: Sequence[FileSystem], job_role: iam.Role
) -> tuple[Volumes, MountPoints]:
    """The volumes and mount points of a job's container; its role may then mount the access points."""
    volumes, mount_points = [], []
    for number, system in enumerate(file_systems):
        grant_mount(job_role, system)
        name = f"efs-{number}"
        volumes.append(
            batch.CfnJobDefinition.VolumesProperty(
                name=name,
                efs_volume_configuration=batch.CfnJobDefinition.EfsVolumeConfigurationProperty(
                    file_system_id=_file_system_id(scope, f"FileSystem{number}", system),
                    transit_encryption="ENABLED",
                    authorization_config=batch.CfnJobDefinition.AuthorizationConfigProperty(
                        access_point_id=_access_point_id(system), iam="ENABLED"
                    ),
                ),
            )
        )
        mount_points.append(
            batch.CfnJobDefinition.MountPointsProperty(
                container_path=system.local_mount_path, read_only=False, source_volume=name
            )
        )
    return volumes, mount_points


def _file_system_id(scope: Construct, construct_id: str, system: FileSystem) -> str:
    provider = HandlerFunction.of(
        scope,
        "FileSystemProvider",
        handler="file_system",
        description="Looks up the file systems of EFS access points",
    )
    access_point = Stack.of(scope).format_arn(
        service="elasticfilesystem", resource="access-point", resource_name=_access_point_id(system)
    )
    provider.allow(
        iam.PolicyStatement(actions=["elasticfilesystem:DescribeAccessPoints"], resources=[access_point])
    )
    resource = provider.resource(
        scope, construct_id, "ScarFileSystem", {"AccessPointId": _access_point_id(system)}
    )
    return resource.get_att_string("FileSystemId")


def _access_point_id(system: FileSystem) -> str:
    return system.arn.rpartition("/")[2]
