"""The container of a Batch job: its job definition's image, as Docker would run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from containers.errors import ErrorKind
from local_cloud.batch.properties import requirement
from local_cloud.containers.processes import ContainerFailedError
from local_cloud.containers.task import ContainerTask, JobNode, Mount
from local_cloud.ecr.references import parse_uri
from local_cloud.ecr.store import RepositoryStore


def container_task(
    store: RepositoryStore,
    container: Mapping[str, Any],
    environment: Mapping[str, str],
    mounts: Sequence[Mount],
    node: JobNode | None = None,
) -> ContainerTask:
    """What to run for a job's `container` (see DescribeJobs). `USER` is the image's, and the root is writable
    unless the job definition says otherwise.

    Raises:
        ContainerFailedError: the image has an ECR name, but is not in ECR.
    """
    image = str(container["image"])
    memory_mib = requirement(container, "MEMORY")
    task = ContainerTask(
        image=image,
        env=environment,
        command=container["command"] or None,
        user=container.get("user") or None,
        read_only_root=bool(container.get("readonlyRootFilesystem")),
        mounts=mounts,
        node=node,
        memory_mib=None if memory_mib is None else int(memory_mib),
        host_ports=[("127.0.0.1", int(environment["AWS_ENDPOINT_URL"].rpartition(":")[2]))],
        limits={
            limit["name"]: (int(limit["softLimit"]), int(limit["hardLimit"]))
            for limit in container.get("ulimits") or []
        },
    )
    reference = parse_uri(image)
    if reference is None:
        return task
    repository = store.repository(reference.key)
    if repository is None:
        raise ContainerFailedError(
            ErrorKind.IMAGE_NOT_FOUND, f"{image}: name unknown: The repository does not exist in the registry"
        )
    found = repository.find(reference.version)
    if found is None:
        raise ContainerFailedError(
            ErrorKind.IMAGE_NOT_FOUND, f"{image}: not found: Requested image not found"
        )
    return ContainerTask(**{**vars(task), "layout": str(repository.folder), "digest": found.digest})
