"""The API of AWS Batch, with jobs that really run.

ministack's own Batch keeps compute environments, queues and job definitions, but no job runs. `install`
replaces the calls about jobs and adds missing ones. Jobs are kept one by one (`state/store.py`), the rest
with the emulator's other state.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path

from ministack.core.responses import get_account_id, get_region
from ministack.services import batch as stub

from local_cloud.batch import jobs as batch_jobs
from local_cloud.batch import nodes
from local_cloud.batch.errors import ClientError
from local_cloud.batch.jobs import JobRunner
from local_cloud.batch.records import (
    FILTERS,
    NAME,
    Record,
    Scope,
    find_definition,
    find_queue,
    last_part,
    new_jobs,
    parent_id,
    passes,
    summary,
)
from local_cloud.batch.retries import check_strategy
from local_cloud.ecr.store import RepositoryStore
from local_cloud.patches import Original, replaces
from local_cloud.state.store import Store

Response = tuple[int, dict[str, str], bytes]
_SHORTEST_LIMIT_S, _LONGEST_LIMIT_S = 600, 86_400
"""Of jobStateTimeLimitActions (API reference, JobStateTimeLimitAction)."""
_log = logging.getLogger("batch")


class Batch:
    """The calls of the Batch API, on ministack's stores."""

    def __init__(
        self, *, parallel: int, endpoint: str, store: Store, images: RepositoryStore, file_systems: Path
    ) -> None:
        self._store = store
        self.runner = JobRunner(
            parallel=parallel, endpoint=endpoint, store=store, images=images, file_systems=file_systems
        )

    def install(self) -> None:
        """Put our calls into the emulator's table, and take part in saving and wiping state."""
        calls: dict[str, Callable[[Record], Record]] = {
            "describecomputeenvironments": self.describe_compute_environments,
            "deletecomputeenvironment": self.delete_compute_environment,
            "createjobqueue": self.create_job_queue,
            "updatejobqueue": self.update_job_queue,
            "deletejobqueue": self.delete_job_queue,
            "registerjobdefinition": self.register_job_definition,
            "describejobdefinitions": self.describe_job_definitions,
            "deregisterjobdefinition": self.deregister_job_definition,
            "submitjob": self.submit_job,
            "describejobs": self.describe_jobs,
            "listjobs": self.list_jobs,
            "terminatejob": self.terminate_job,
            "canceljob": self.cancel_job,
        }
        for name, call in calls.items():
            stub._DISPATCH[f"/v1/{name}"] = _answering(call)
        stub.get_state = lambda: {
            "compute_envs": stub._compute_envs,
            "job_queues": stub._job_queues,
            "job_definitions": stub._job_definitions,
        }

        @replaces(stub, "reset")
        def reset_all(reset: Original) -> None:
            self.runner.forget_all()
            reset()

    def restore(self) -> None:
        """Put the jobs back, when the snapshot is loaded; they wait for the runner's `resume`."""
        restored: list[tuple[Scope, Record]] = []
        for key, value in self._store.items(batch_jobs.KIND):
            account, region, job_id = key.split(" ")
            job = stub._jobs._data[account, region, job_id] = json.loads(value)
            restored.append((Scope(account, region), job))
        self.runner.submit_again(restored)

    # Compute environments and queues.

    def describe_compute_environments(self, request: Record) -> Record:
        """DescribeComputeEnvironments, by names or ARNs."""
        names = [last_part(reference) for reference in request.get("computeEnvironments") or []]
        found = [
            environment for name, environment in stub._compute_envs.items() if not names or name in names
        ]
        return {"computeEnvironments": found}

    def delete_compute_environment(self, request: Record) -> Record:
        """DeleteComputeEnvironment: refused while a queue uses it."""
        name = last_part(request.get("computeEnvironment", ""))
        for queue in stub._job_queues.values():
            if name in [last_part(entry["computeEnvironment"]) for entry in queue["computeEnvironmentOrder"]]:
                raise ClientError(
                    f"Cannot delete, found existing JobQueue relationship: {queue['jobQueueName']}"
                )
        stub._compute_envs.pop(name, None)
        return {}

    def create_job_queue(self, request: Record) -> Record:
        """CreateJobQueue."""
        _check_time_limit_actions(request)
        status, _headers, body = stub._create_job_queue(request)
        answer: Record = json.loads(body)
        if status != 200:  # noqa: PLR2004
            raise ClientError(answer.get("message") or str(answer))
        for key in ("schedulingPolicyArn", "jobStateTimeLimitActions"):
            if request.get(key) is not None:
                stub._job_queues[answer["jobQueueName"]][key] = request[key]
        return answer

    def update_job_queue(self, request: Record) -> Record:
        """UpdateJobQueue."""
        queue = find_queue(request.get("jobQueue", ""))
        _check_time_limit_actions(request)
        changing = ("state", "priority", "computeEnvironmentOrder", "schedulingPolicyArn")
        for key in (*changing, "jobStateTimeLimitActions"):
            if request.get(key) is not None:
                queue[key] = request[key]
        return {"jobQueueName": queue["jobQueueName"], "jobQueueArn": queue["jobQueueArn"]}

    def delete_job_queue(self, request: Record) -> Record:
        """DeleteJobQueue: its jobs are ended."""
        name = last_part(request.get("jobQueue", ""))
        queue = stub._job_queues.pop(name, None)
        if queue is not None:
            scope = Scope(get_account_id(), get_region())
            for job in list(stub._jobs.values()):
                if job["jobQueue"] == queue["jobQueueArn"] and job["status"] not in batch_jobs.TERMINAL:
                    self.runner.stop(scope, job, "Job queue deleted", cancel=False)
        return {}

    # Job definitions.

    def register_job_definition(self, request: Record) -> Record:
        """RegisterJobDefinition: a new revision."""
        name = request.get("jobDefinitionName") or ""
        if not NAME.fullmatch(name):
            raise ClientError(f"jobDefinitionName {name!r} must be 1 to 128 letters, digits, - and _")
        kind = request.get("type", "container")
        if kind == "multinode":
            nodes.check_definition(request)
        elif kind != "container" or "containerProperties" not in request:
            raise ClientError(
                "The embedded cloud supports only job definitions of type container with containerProperties "
                "and of type multinode with nodeProperties"
            )
        check_strategy(request.get("retryStrategy"))
        revisions = stub._job_definitions.setdefault(name, [])
        revision = 1 + max((int(known["revision"]) for known in revisions), default=0)
        record = {
            **{key: value for key, value in request.items() if value is not None},
            "jobDefinitionArn": stub._jd_arn(name, revision),
            "revision": revision,
            "status": "ACTIVE",
            "type": kind,
            "containerOrchestrationType": "ECS",
        }
        revisions.append(record)
        return {key: record[key] for key in ("jobDefinitionName", "jobDefinitionArn", "revision")}

    def describe_job_definitions(self, request: Record) -> Record:
        """DescribeJobDefinitions, by names, ARNs and status."""
        wanted = [last_part(reference) for reference in request.get("jobDefinitions") or []]
        name, status = request.get("jobDefinitionName"), request.get("status")
        return {
            "jobDefinitions": [
                definition
                for revisions in stub._job_definitions.values()
                for definition in revisions
                if (not name or definition["jobDefinitionName"] == name)
                and (not status or definition["status"] == status)
                and (not wanted or last_part(definition["jobDefinitionArn"]) in wanted)
            ]
        }

    def deregister_job_definition(self, request: Record) -> Record:
        """DeregisterJobDefinition: the revision becomes INACTIVE."""
        reference = last_part(request.get("jobDefinition", ""))
        for revisions in stub._job_definitions.values():
            for definition in revisions:
                if last_part(definition["jobDefinitionArn"]) == reference:
                    definition["status"] = "INACTIVE"
        return {}

    # Jobs.

    def submit_job(self, request: Record) -> Record:
        """SubmitJob: from here on the job runs by itself."""
        if not NAME.fullmatch(request.get("jobName") or ""):
            raise ClientError(f"jobName {request.get('jobName')!r} must be 1 to 128 letters, digits, - and _")
        queue = find_queue(request.get("jobQueue", ""))
        if queue["state"] != "ENABLED":
            raise ClientError(f"Job Queue {queue['jobQueueArn']} is disabled")
        with self._store.transaction():
            jobs = new_jobs(request, queue, find_definition(request.get("jobDefinition", "")))
            for job in jobs:
                stub._jobs[job["jobId"]] = job
            self.runner.submit(Scope(get_account_id(), get_region()), jobs)
        return {key: jobs[0][key] for key in ("jobArn", "jobName", "jobId")}

    def describe_jobs(self, request: Record) -> Record:
        """DescribeJobs, by ids."""
        with self._store.lock:
            found = [
                stub._jobs[last_part(job_id)]
                for job_id in request.get("jobs") or []
                if last_part(job_id) in stub._jobs
            ]
            return {"jobs": [copy.deepcopy(job) for job in found]}

    def list_jobs(self, request: Record) -> Record:
        """ListJobs: jobs of a queue, children of an array job, or nodes of a multi-node job, page by page.

        In one state; RUNNING if none is given, as on AWS. Filters are for jobs of a queue, in any state.
        """
        array, multi_node = request.get("arrayJobId"), request.get("multiNodeJobId")
        if sum(bool(one) for one in (array, multi_node, request.get("jobQueue"))) != 1:
            raise ClientError("One of jobQueue, arrayJobId and multiNodeJobId is required")
        status = request.get("jobStatus") or "RUNNING"
        filters: dict[str, list[str]] = {}
        with self._store.lock:
            if array or multi_node:
                prefix = f"{array}:" if array else f"{multi_node}#"
                jobs = [job for job in stub._jobs.values() if job["jobId"].startswith(prefix)]
            else:
                queue = find_queue(request["jobQueue"])["jobQueueArn"]
                filters = {entry["name"]: entry["values"] for entry in request.get("filters") or []}
                if unknown := filters.keys() - FILTERS:
                    raise ClientError(f"Unknown filter: {', '.join(sorted(unknown))}")
                jobs = [
                    job
                    for job in stub._jobs.values()
                    if job["jobQueue"] == queue and parent_id(job["jobId"]) == job["jobId"]
                ]
        if filters:
            jobs = [job for job in jobs if passes(job, filters)]
        else:
            jobs = [job for job in jobs if job["status"] == status]
        jobs.sort(key=lambda job: -int(job["createdAt"]))
        start = int(request.get("nextToken") or 0)
        end = start + min(int(request.get("maxResults") or 1000), 1000)
        page: Record = {"jobSummaryList": [summary(job) for job in jobs[start:end]]}
        if end < len(jobs):
            page["nextToken"] = str(end)
        return page

    def terminate_job(self, request: Record) -> Record:
        """TerminateJob: also one that runs."""
        return self._stop(request, cancel=False)

    def cancel_job(self, request: Record) -> Record:
        """CancelJob: only one that has not started."""
        return self._stop(request, cancel=True)

    def _stop(self, request: Record, *, cancel: bool) -> Record:
        if not request.get("reason"):
            raise ClientError("reason is required")
        job = stub._jobs.get(last_part(request.get("jobId", "")))
        if job is not None:
            self.runner.stop(Scope(get_account_id(), get_region()), job, request["reason"], cancel=cancel)
        return {}


def _check_time_limit_actions(request: Record) -> None:
    """Raise ClientError for jobStateTimeLimitActions that AWS rejects."""
    for action in request.get("jobStateTimeLimitActions") or []:
        if action.get("state") != "RUNNABLE" or action.get("action") != "CANCEL":
            raise ClientError(
                f"jobStateTimeLimitActions need the state RUNNABLE and the action CANCEL: {action}"
            )
        if not action.get("reason"):
            raise ClientError(f"jobStateTimeLimitActions need a reason: {action}")
        if not _SHORTEST_LIMIT_S <= int(action.get("maxTimeSeconds", 0)) <= _LONGEST_LIMIT_S:
            raise ClientError(
                f"maxTimeSeconds must be between {_SHORTEST_LIMIT_S} and {_LONGEST_LIMIT_S}: {action}"
            )


def _answering(call: Callable[[Record], Record]) -> Callable[[Record], Response]:
    def answer(request: Record) -> Response:
        try:
            status, body = 200, call(request)
        except ClientError as error:
            status, body = 400, {"__type": "ClientException", "message": str(error)}
        except (KeyError, TypeError, ValueError) as error:
            _log.exception("request %s", request)
            status, body = 400, {"__type": "ClientException", "message": f"Malformed request: {error!r}"}
        headers = {"Content-Type": "application/json"}
        if status != 200:  # noqa: PLR2004
            headers["x-amzn-ErrorType"] = body["__type"]
        return status, headers, json.dumps(body).encode()

    return answer
