"""Runs the jobs of AWS Batch.

A job goes SUBMITTED → PENDING (its dependencies) → RUNNABLE → STARTING → RUNNING → SUCCEEDED or FAILED, as on
AWS. It is RUNNABLE until its compute environment has enough vCPUs and the machine has a free core. Each
attempt is one container (`attempt.py`); its exit code, the retry strategy and the timeout decide what comes
next. Each change of state becomes an event "Batch Job State Change", and is committed to the store together
with what that event has caused: a job that fails for good is in its failure queue, too.

An array job runs nothing itself: its state follows from those of its children, which are ordinary jobs. A
multi-node job is one job whose attempt has a container for each node.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_cloud.access import callers, job_credentials
from local_cloud.batch import records
from local_cloud.batch.attempt import Attempt, now_ms
from local_cloud.batch.images import container_task
from local_cloud.batch.logs import JobLog
from local_cloud.batch.properties import requirement
from local_cloud.batch.records import Environment, Record, Scope
from local_cloud.batch.retries import may_retry
from local_cloud.batch.volumes import mounts
from local_cloud.containers.node_network import address_of
from local_cloud.containers.task import ContainerTask, JobNode
from local_cloud.ecr.store import RepositoryStore
from local_cloud.state.stopping import BackgroundWork
from local_cloud.state.store import Store

KIND = "job"
"""Of jobs in the store."""
TERMINAL = frozenset({"SUCCEEDED", "FAILED"})
_ADMITTED_AT_ONCE = 500
"""Jobs that are looked at before others may have the lock."""
_STUCK = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet the "
    "CPU requirement of the job."
)
_log = logging.getLogger("batch")


@dataclass(frozen=True)
class _Run:
    """One attempt of a job: a container, or one for each node of a multi-node job."""

    scope: Scope
    job: Record
    parts: list[tuple[Record, Attempt]]
    """The job's own record, or those of its nodes."""
    main: int
    """Which of them decides."""
    key: tuple[Scope, str]
    """Of the compute environment."""
    vcpus: float

    def stop(self, reason: str) -> None:
        """End all containers."""
        for _record, attempt in self.parts:
            attempt.stop(reason)


class JobRunner(BackgroundWork):
    """Runs submitted jobs, from `resume` on; no more at once than `parallel`, nor than their compute
    environments have vCPUs for.

    """

    def __init__(
        self, *, parallel: int, endpoint: str, store: Store, images: RepositoryStore, file_systems: Path
    ) -> None:
        self._parallel = parallel
        self._endpoint = endpoint
        self._images = images
        self._file_systems = file_systems
        super().__init__(store)
        self._arrived: deque[tuple[Scope, Record]] = deque()
        """Jobs whose dependencies have to be looked at."""
        self._waiting_for: dict[str, list[tuple[Scope, Record]]] = {}
        """By the id of a job: those that it holds up."""
        self._runnable: dict[tuple[Scope, str], dict[str, Record]] = {}
        """By queue, and by id in the order in which they will be started."""
        self._runnable_since: dict[str, float] = {}
        self._vcpus_used: dict[tuple[Scope, str], float] = {}
        threading.Thread(target=self._schedule, daemon=True, name="batch-scheduler").start()

    def submit(self, scope: Scope, jobs: Sequence[Record]) -> None:
        """Queue a new job, given with its children or nodes."""
        with self._store.transaction():
            for job in jobs:
                self._set_state(scope, job, "PENDING" if _is_child(job) else "SUBMITTED")
                if _runs(job):
                    self._arrived.append((scope, job))
            self._changed.notify_all()

    def submit_again(self, jobs: Sequence[tuple[Scope, Record]]) -> None:
        """Queue the jobs that were waiting or running when the cloud stopped; `jobs` are all that are known.

        What ran is run again, and has used up no attempt: it was the cloud that failed, and not the job.
        """
        with self._store.transaction():
            arrays = {job["jobId"]: job["arrayProperties"] for _scope, job in jobs if _is_array(job)}
            for array in arrays.values():
                array["statusSummary"] = dict.fromkeys(records.STATES, 0)
            for _scope, job in jobs:
                if _is_child(job):
                    arrays[records.parent_id(job["jobId"])]["statusSummary"][job["status"]] += 1
            for scope, job in jobs:
                if not _runs(job) or job["status"] in TERMINAL:
                    continue
                if job["isTerminated"] or job["isCancelled"]:
                    self._finish(scope, job, "FAILED", job.get("statusReason", ""))
                    continue
                if job["status"] in ("STARTING", "RUNNING"):
                    self._make_ready(scope, job)
                self._arrived.append((scope, job))

    def stop(self, scope: Scope, job: Record, reason: str, *, cancel: bool) -> None:
        """End a job with `reason`; once it has started, `cancel` (CancelJob) leaves it alone.

        An array job ends with all its children, a node with the job that it belongs to.
        """
        with self._store.transaction():
            if _is_node(job):
                job = records.find_job(scope, records.parent_id(job["jobId"])) or job
            if job["status"] in TERMINAL:
                return
            run = self._running.get(job["jobId"])
            mark = "isCancelled" if cancel else "isTerminated"
            if _is_array(job):
                job.update({mark: True, "statusReason": reason})
                self._keep(scope, job)
                for child in self._children(scope, job):
                    self.stop(scope, child, reason, cancel=cancel)
            elif run is None:
                job[mark] = True
                self._no_longer_runnable(scope, job)
                self._finish(scope, job, "FAILED", reason)
            elif not cancel:
                job.update({mark: True, "statusReason": reason})
                self._keep(scope, job)
                run.stop(reason)
            self._changed.notify_all()

    def forget_all(self) -> None:
        """End every job, with no record and no event: the emulator's state is being wiped."""
        with self._store.transaction():
            for waiting in (self._arrived, self._waiting_for, self._runnable, self._runnable_since):
                waiting.clear()
            self._store.remove_below(KIND, "")
            for run in self._running.values():
                run.stop("The embedded cloud was reset")

    # Deciding what runs.

    def _schedule(self) -> None:
        with self._changed:
            while True:
                try:
                    with self._store.transaction():
                        if not self._paused:
                            for _ in range(min(len(self._arrived), _ADMITTED_AT_ONCE)):
                                self._admit(*self._arrived.popleft())
                            self._start_what_fits()
                except Exception:
                    _log.exception("scheduling jobs failed")
                if self._arrived and not self._paused:
                    self._changed.wait(timeout=0)
                else:
                    # Compute environments and queues change without telling us; hence the time-out.
                    self._changed.wait(timeout=0.5 if any(self._runnable.values()) else None)

    def _admit(self, scope: Scope, job: Record) -> None:
        """Make a job RUNNABLE, or have it wait for the first of its dependencies that has not ended."""
        if job["status"] in TERMINAL:
            return
        for dependency in job["dependsOn"]:
            other = records.find_job(scope, dependency["jobId"])
            if other is None or other["status"] == "FAILED":
                self._finish(scope, job, "FAILED", "Dependent Job failed")
                return
            if other["status"] != "SUCCEEDED":
                self._waiting_for.setdefault(other["jobId"], []).append((scope, job))
                self._set_state(scope, job, "PENDING")
                return
        self._make_ready(scope, job)
        self._queue(scope, job)

    def _queue(self, scope: Scope, job: Record) -> None:
        self._runnable.setdefault((scope, job["jobQueue"]), {})[job["jobId"]] = job
        self._runnable_since[job["jobId"]] = time.monotonic()

    def _start_what_fits(self) -> None:
        for (scope, queue), jobs in self._runnable.items():
            if jobs:
                self._start_jobs_of(scope, queue, list(jobs.values()))

    def _start_jobs_of(self, scope: Scope, queue: str, jobs: Sequence[Record]) -> None:
        """Start jobs of a queue, in order, until the machine or the compute environments are full."""
        environments = records.environments_of(scope, queue)
        for job in jobs if environments else ():
            needed = self._vcpus_of(scope, job)
            suitable = [environment for environment in environments if needed <= environment.vcpus]
            if not suitable:
                if job.get("statusReason") != _STUCK:
                    job["statusReason"] = _STUCK
                    self._emit(scope, job, records.BLOCKED)
                self._cancel_if_too_late(scope, job)
                continue
            if len(self._running) >= self._parallel:
                break
            for environment in suitable:
                key = (scope, environment.name)
                if self._vcpus_used.get(key, 0.0) + needed > environment.vcpus:
                    continue
                self._start(scope, job, environment, needed)
                break
            else:
                break

    def _cancel_if_too_late(self, scope: Scope, job: Record) -> None:
        """End a job that has been stuck for longer than its queue allows."""
        stuck_s = time.monotonic() - self._runnable_since[job["jobId"]]
        for action in records.time_limit_actions(scope, job["jobQueue"]):
            reason = action["reason"]
            if job["statusReason"].startswith(reason) and stuck_s >= float(action["maxTimeSeconds"]):
                said = f"Canceled by JobStateTimeLimit action due to reason: {reason}"
                self.stop(scope, job, said, cancel=True)
                return

    def _start(self, scope: Scope, job: Record, environment: Environment, needed: float) -> None:
        self._no_longer_runnable(scope, job)
        key = (scope, environment.name)
        self._vcpus_used[key] = self._vcpus_used.get(key, 0.0) + needed
        parts = list(self._nodes(scope, job)) or [job]
        for part in parts:
            # By whose id the attempt's log stream is named.
            part["container"]["taskArn"] = (
                f"arn:aws:ecs:{scope.region}:{scope.account}:task/embedded/{uuid.uuid4().hex}"
            )
        main = job["nodeProperties"]["mainNode"] if "nodeProperties" in job else 0
        run = _Run(scope, job, [], main, key, needed)
        for index, part in enumerate(parts):
            run.parts.append((part, self._new_attempt(run, part, index, environment)))
        self._running[job["jobId"]] = run
        threading.Thread(target=self._run, args=(run,), daemon=True, name=job["jobId"]).start()

    def _no_longer_runnable(self, scope: Scope, job: Record) -> None:
        self._runnable.get((scope, job["jobQueue"]), {}).pop(job["jobId"], None)
        self._runnable_since.pop(job["jobId"], None)

    def _vcpus_of(self, scope: Scope, job: Record) -> float:
        return sum(vcpus(part) for part in list(self._nodes(scope, job)) or [job])

    def _nodes(self, scope: Scope, job: Record) -> Iterator[Record]:
        """The records of a multi-node job's nodes; nothing for other jobs."""
        if not _is_node(job) and "nodeProperties" in job:
            for index in range(job["nodeProperties"]["numNodes"]):
                if node := records.find_job(scope, f"{job['jobId']}#{index}"):
                    yield node

    def _children(self, scope: Scope, job: Record) -> Iterator[Record]:
        """The records of an array job's children."""
        for index in range(job["arrayProperties"]["size"]):
            if child := records.find_job(scope, f"{job['jobId']}:{index}"):
                yield child

    # One attempt, and what its end means.

    def _new_attempt(self, run: _Run, part: Record, index: int, environment: Environment) -> Attempt:
        scope, job, container = run.scope, run.job, part["container"]
        given = {entry["name"]: str(entry.get("value", "")) for entry in container.get("environment", [])}
        # The time limit of a multi-node job is that of its main node.
        limit_s = (job.get("timeout") or {}).get("attemptDurationSeconds") if index == run.main else None
        role, path = container.get("jobRoleArn", ""), ""
        if role:  # without one, a job has no credentials
            path = job_credentials.offer(lambda: callers.job_credentials(role, part["jobId"]))
        variables = {
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_REGION": scope.region,
            "AWS_DEFAULT_REGION": scope.region,
            **given,
            **({"AWS_CONTAINER_CREDENTIALS_FULL_URI": self._endpoint + path} if path else {}),
            "AWS_BATCH_JOB_ID": part["jobId"],
            "AWS_BATCH_JOB_ATTEMPT": str(len(job["attempts"]) + 1),
            "AWS_BATCH_JQ_NAME": job["jobQueue"].rpartition("/")[2],
            "AWS_BATCH_CE_NAME": environment.name,
            **self._array_variables(scope, job),
            **_node_variables(job, index),
        }

        def task() -> ContainerTask:
            node = None
            if "nodeProperties" in job:
                network = None if index == run.main else run.parts[run.main][1].network
                node = JobNode(address_of(index), network)
            mounted = mounts(scope, container, self._file_systems)
            return container_task(self._images, container, variables, mounted, node)

        return Attempt(
            job_id=part["jobId"],
            timeout_s=None if limit_s is None else float(limit_s),
            task=task,
            task_arn=container["taskArn"],
            lost=_how_a_host_is_lost(environment),
            on_end=lambda: job_credentials.withdraw(path),
        )

    def _array_variables(self, scope: Scope, job: Record) -> Mapping[str, str]:
        if not _is_child(job):
            return {}
        array = records.find_job(scope, records.parent_id(job["jobId"])) or {}
        return {
            "AWS_BATCH_JOB_ARRAY_INDEX": str(job["arrayProperties"]["index"]),
            "AWS_BATCH_JOB_ARRAY_SIZE": str(array.get("arrayProperties", {}).get("size", "")),
        }

    def _run(self, run: _Run) -> None:
        """Run the main container, and the others while it runs."""
        record, attempt = run.parts[run.main]
        others = [part for index, part in enumerate(run.parts) if index != run.main]
        threads = [
            threading.Thread(target=self._run_part, args=(run, *part, lambda: None), daemon=True)
            for part in others
        ]

        def start_others() -> None:
            for thread in threads:
                thread.start()

        if record is not run.job:
            with self._store.transaction():
                self._set_state(run.scope, run.job, "STARTING")
        self._run_part(run, record, attempt, start_others)
        for thread, (_record, other) in zip(threads, others, strict=True):
            other.stop("The main node has ended")
            if thread.ident is not None:
                thread.join()
            else:
                other.on_end()
        with self._store.transaction():
            self._running.pop(run.job["jobId"], None)
            self._vcpus_used[run.key] -= run.vcpus
            if not self._abandoned and records.find_job(run.scope, run.job["jobId"]) is run.job:
                self._conclude(run.scope, run.job, attempt)
            self._changed.notify_all()

    def _run_part(self, run: _Run, record: Record, attempt: Attempt, then: Callable[[], None]) -> None:
        """Run one container, and call `then` when it runs."""
        scope, job = run.scope, run.job

        def running() -> None:
            with self._store.transaction():
                for one in (
                    (record,) if record is job or record is not run.parts[run.main][0] else (record, job)
                ):
                    one["startedAt"] = attempt.started_ms
                    self._set_state(scope, one, "RUNNING")
            then()

        with self._store.transaction():
            self._set_state(scope, record, "STARTING")

        def open_log() -> JobLog:
            job_log = JobLog.open(scope.account, scope.region, record)
            record["container"]["logStreamName"] = job_log.stream
            return job_log

        attempt.run(open_log, running)
        if record is job or self._abandoned:
            return
        with self._store.transaction():
            if records.find_job(scope, record["jobId"]) is record:
                record["container"].update(attempt.outcome())
                record_attempt(record, attempt)
                state = "SUCCEEDED" if attempt.succeeded else "FAILED"
                self._finish(scope, record, state, attempt.status_reason)

    def _conclude(self, scope: Scope, job: Record, attempt: Attempt) -> None:
        reason = attempt.status_reason
        if "container" in job:
            job["container"].update(attempt.outcome())
        record_attempt(job, attempt)
        # AWS: a job that was terminated, or that exceeded its time, is not retried.
        final = attempt.stop_reason is not None or attempt.timed_out
        if attempt.succeeded:
            self._finish(scope, job, "SUCCEEDED", reason)
        elif final or not may_retry(job, attempt.exit_code, attempt.reason, reason):
            self._finish(scope, job, "FAILED", reason)
        else:
            job["statusReason"] = reason
            self._make_ready(scope, job)
            self._queue(scope, job)

    def _make_ready(self, scope: Scope, job: Record) -> None:
        """RUNNABLE, with all its nodes."""
        for one in (job, *self._nodes(scope, job)):
            one.pop("startedAt", None)
            one.pop("stoppedAt", None)
            self._set_state(scope, one, "RUNNABLE")

    def _finish(self, scope: Scope, job: Record, state: str, reason: str) -> None:
        for node in self._nodes(scope, job):
            if node["status"] not in TERMINAL:
                self._finish(scope, node, state, reason)
        job["statusReason"] = reason
        job["stoppedAt"] = now_ms()
        self._set_state(scope, job, state)
        self._arrived.extend(self._waiting_for.pop(job["jobId"], ()))

    def _set_state(self, scope: Scope, job: Record, state: str) -> None:
        before = job["status"]
        if before == state:
            return
        job["status"] = state
        level = logging.DEBUG if _is_child(job) else logging.INFO  # an array job can have thousands
        _log.log(level, "job %s (%s): %s", job["jobId"], job["jobName"], state)
        self._keep(scope, job)
        self._emit(scope, job, records.STATE_CHANGE)
        if _is_child(job):
            self._count(scope, job, before)

    def _emit(self, scope: Scope, job: Record, kind: str) -> None:
        try:
            records.emit(scope, job, kind)
        except Exception:
            _log.exception("event of job %s", job["jobId"])

    def _count(self, scope: Scope, child: Record, before: str) -> None:
        """Take a child's change of state over into its array job, which ends with the last of them."""
        array = records.find_job(scope, records.parent_id(child["jobId"]))
        if array is None:
            return
        states, now = array["arrayProperties"]["statusSummary"], child["status"]
        states[now] += 1
        if before in states:
            states[before] -= 1
        if now == "RUNNABLE" and array["status"] == "SUBMITTED":
            self._set_state(scope, array, "PENDING")
        if states["SUCCEEDED"] + states["FAILED"] == array["arrayProperties"]["size"]:
            stopped = array["isCancelled"] or array["isTerminated"]
            if stopped or states["FAILED"]:
                reason = array["statusReason"] if stopped else "Array Child Job failed"
                self._finish(scope, array, "FAILED", reason)
            else:
                self._finish(scope, array, "SUCCEEDED", "Array Child Job succeeded")

    def _keep(self, scope: Scope, job: Record) -> None:
        self._store.put(KIND, f"{scope.account} {scope.region} {job['jobId']}", json.dumps(job))


def _is_array(job: Record) -> bool:
    return "size" in job.get("arrayProperties", {})


def _is_child(job: Record) -> bool:
    return "index" in job.get("arrayProperties", {})


def _is_node(job: Record) -> bool:
    return "nodeIndex" in job.get("nodeProperties", {})


def _runs(job: Record) -> bool:
    """Whether the scheduler starts it: an array job is its children, and nodes are started with their job."""
    return not _is_array(job) and not _is_node(job)


def _node_variables(job: Record, index: int) -> Mapping[str, str]:
    """What a node of a multi-node job knows of itself and of the main node, which alone has no address."""
    if "nodeProperties" not in job:
        return {}
    main = job["nodeProperties"]["mainNode"]
    variables = {
        "AWS_BATCH_JOB_NODE_INDEX": str(index),
        "AWS_BATCH_JOB_NUM_NODES": str(job["nodeProperties"]["numNodes"]),
        "AWS_BATCH_JOB_MAIN_NODE_INDEX": str(main),
    }
    if index != main:
        variables["AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"] = address_of(main)
    return variables


def _how_a_host_is_lost(environment: Environment) -> tuple[str, int | None]:
    """Status reason and exit code of an attempt whose host is reclaimed."""
    if environment.is_fargate:
        return "Your Spot Task was interrupted.", 137
    return f"Host EC2 (instance i-{secrets.token_hex(9)[:17]}) terminated.", None


def vcpus(job: Record) -> float:
    """How many vCPUs a job asks for."""
    asked = requirement(job["container"], "VCPU")
    return 1.0 if asked is None else asked


def record_attempt(job: Record, attempt: Attempt) -> None:
    """Add an attempt that has ended to the record of a job or a node."""
    job["attempts"].append(
        {
            "container": {"taskArn": attempt.task_arn, **attempt.outcome()},
            "startedAt": attempt.started_ms,
            "stoppedAt": attempt.stopped_ms,
            "statusReason": attempt.status_reason,
        }
    )
