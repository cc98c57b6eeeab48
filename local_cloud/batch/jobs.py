"""Runs the jobs of AWS Batch.

A job goes SUBMITTED → PENDING (its dependencies) → RUNNABLE → STARTING → RUNNING → SUCCEEDED or FAILED, as on
AWS. It is RUNNABLE until its compute environment has enough vCPUs and the machine has a free core. Each
attempt is one container (`attempt.py`); its exit code, the retry strategy and the timeout decide what comes
next. Each change of state becomes an event "Batch Job State Change", and is committed to the store together
with what that event has caused: a job that fails for good is in its failure queue, too.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid

from local_cloud.batch import records
from local_cloud.batch.attempt import Attempt, now_ms
from local_cloud.batch.images import container_task, role_credentials
from local_cloud.batch.logs import JobLog
from local_cloud.batch.records import Record, Scope
from local_cloud.ecr.store import RepositoryStore
from local_cloud.state.stopping import BackgroundWork
from local_cloud.state.store import Store

KIND = "job"
"""Of jobs in the store."""
TERMINAL = frozenset({"SUCCEEDED", "FAILED"})
_log = logging.getLogger("batch")


class JobRunner(BackgroundWork):
    """Runs submitted jobs, from `resume` on; no more at once than `parallel`, nor than their compute
    environments have vCPUs for.

    """

    def __init__(self, *, parallel: int, endpoint: str, store: Store, images: RepositoryStore) -> None:
        self._parallel = parallel
        self._endpoint = endpoint
        self._images = images
        super().__init__(store)
        self._waiting: list[tuple[Scope, Record]] = []
        self._vcpus_used: dict[tuple[Scope, str], float] = {}
        threading.Thread(target=self._schedule, daemon=True, name="batch-scheduler").start()

    def submit(self, scope: Scope, job: Record) -> None:
        """Queue a new job."""
        with self._store.transaction():
            self._set_state(scope, job, "SUBMITTED")
            self._waiting.append((scope, job))
            self._changed.notify_all()

    def submit_again(self, scope: Scope, job: Record) -> None:
        """Queue a job that was waiting or running when the cloud stopped.

        What ran is run again, and has used up no attempt: it was the cloud that failed, and not the job.
        """
        with self._store.transaction():
            if job["isTerminated"] or job["isCancelled"]:
                self._finish(scope, job, "FAILED", job.get("statusReason", ""))
                return
            if job["status"] in ("STARTING", "RUNNING"):
                job.pop("startedAt", None)
                self._set_state(scope, job, "RUNNABLE")
            self._waiting.append((scope, job))

    def stop(self, scope: Scope, job: Record, reason: str, *, cancel: bool) -> None:
        """End a job with `reason`; once it has started, `cancel` (CancelJob) leaves it alone."""
        with self._store.transaction():
            if job["status"] in TERMINAL:
                return
            attempt = self._running.get(job["jobId"])
            if attempt is None:
                job["isCancelled" if cancel else "isTerminated"] = True
                self._no_longer_waiting(job)
                self._finish(scope, job, "FAILED", reason)
            elif not cancel:
                job.update(isTerminated=True, statusReason=reason)
                self._keep(scope, job)
                attempt.stop(reason)
            self._changed.notify_all()

    def forget_all(self) -> None:
        """End every job, with no record and no event: the emulator's state is being wiped."""
        with self._store.transaction():
            self._waiting.clear()
            self._store.remove_below(KIND, "")
            for attempt in self._running.values():
                attempt.stop("The embedded cloud was reset")

    # Deciding what runs.

    def _schedule(self) -> None:
        with self._changed:
            while True:
                try:
                    with self._store.transaction():
                        if not self._paused:
                            self._start_what_fits()
                except Exception:
                    _log.exception("scheduling jobs failed")
                # Compute environments and queues change without telling us; hence the time-out.
                self._changed.wait(timeout=0.5 if self._waiting else None)

    def _start_what_fits(self) -> None:
        for scope, job in list(self._waiting):
            if job["status"] in ("SUBMITTED", "PENDING") and not self._dependencies_met(scope, job):
                continue
            if len(self._running) >= self._parallel:
                self._set_state(scope, job, "RUNNABLE")
                continue
            environment = records.vcpus_of_environment(scope, job)
            self._set_state(scope, job, "RUNNABLE")
            if environment is None:
                continue
            name, maximum = environment
            needed = vcpus(job)
            if needed > maximum:
                job["statusReason"] = (
                    f"MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job needs {needed:g} vCPUs; "
                    f"compute environment {name} has no more than {maximum:g}"
                )
                continue
            key = (scope, name)
            if self._vcpus_used.get(key, 0.0) + needed > maximum:
                continue
            self._no_longer_waiting(job)
            self._vcpus_used[key] = self._vcpus_used.get(key, 0.0) + needed
            # By whose id the attempt's log stream is named.
            job["container"]["taskArn"] = (
                f"arn:aws:ecs:{scope.region}:{scope.account}:task/embedded/{uuid.uuid4().hex}"
            )
            attempt = self._running[job["jobId"]] = self._new_attempt(scope, job, name)
            threading.Thread(
                target=self._run_attempt, args=(scope, job, attempt, key), daemon=True, name=job["jobId"]
            ).start()

    def _no_longer_waiting(self, job: Record) -> None:
        self._waiting = [one for one in self._waiting if one[1] is not job]

    def _dependencies_met(self, scope: Scope, job: Record) -> bool:
        states = [
            "FAILED" if (other := records.find_job(scope, dependency["jobId"])) is None else other["status"]
            for dependency in job.get("dependsOn", [])
        ]
        if "FAILED" in states:
            self._no_longer_waiting(job)
            self._finish(scope, job, "FAILED", "Dependent Job failed")
            return False
        if all(state == "SUCCEEDED" for state in states):
            return True
        self._set_state(scope, job, "PENDING")
        return False

    # One attempt, and what its end means.

    def _new_attempt(self, scope: Scope, job: Record, compute_environment: str) -> Attempt:
        given = {
            entry["name"]: str(entry.get("value", "")) for entry in job["container"].get("environment", [])
        }
        limit_s = (job.get("timeout") or {}).get("attemptDurationSeconds")
        environment = {
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_REGION": scope.region,
            "AWS_DEFAULT_REGION": scope.region,
            **role_credentials(scope, job),
            **given,
            "AWS_BATCH_JOB_ID": job["jobId"],
            "AWS_BATCH_JOB_ATTEMPT": str(len(job["attempts"]) + 1),
            "AWS_BATCH_JQ_NAME": job["jobQueue"].rpartition("/")[2],
            "AWS_BATCH_CE_NAME": compute_environment,
        }
        return Attempt(
            job_id=job["jobId"],
            timeout_s=None if limit_s is None else float(limit_s),
            task=lambda: container_task(self._images, job["container"], environment),
        )

    def _run_attempt(self, scope: Scope, job: Record, attempt: Attempt, key: tuple[Scope, str]) -> None:
        def running() -> None:
            with self._store.transaction():
                job["startedAt"] = attempt.started_ms
                job["container"]["logStreamName"] = attempt.log_stream
                self._set_state(scope, job, "RUNNING")

        with self._store.transaction():
            self._set_state(scope, job, "STARTING")
        attempt.run(lambda: JobLog.open(scope.account, scope.region, job), running)
        with self._store.transaction():
            self._running.pop(job["jobId"], None)
            self._vcpus_used[key] -= vcpus(job)
            if not self._abandoned and records.find_job(scope, job["jobId"]) is job:
                self._conclude(scope, job, attempt)
            self._changed.notify_all()

    def _conclude(self, scope: Scope, job: Record, attempt: Attempt) -> None:
        reason = attempt.status_reason
        job["container"].update(attempt.outcome())
        record_attempt(job, attempt.outcome(), reason, attempt.started_ms, attempt.stopped_ms)
        # AWS: a job that was terminated, or that exceeded its time, is not retried.
        final = attempt.stop_reason is not None or attempt.timed_out
        if attempt.succeeded:
            self._finish(scope, job, "SUCCEEDED", reason)
        elif final or not may_retry(job, attempt.exit_code, attempt.reason, reason):
            self._finish(scope, job, "FAILED", reason)
        else:
            job["statusReason"] = reason
            self._set_state(scope, job, "RUNNABLE")
            self._waiting.append((scope, job))

    def _finish(self, scope: Scope, job: Record, state: str, reason: str) -> None:
        job["statusReason"] = reason
        job["stoppedAt"] = now_ms()
        self._set_state(scope, job, state)

    def _set_state(self, scope: Scope, job: Record, state: str) -> None:
        if job["status"] == state:
            return
        job["status"] = state
        _log.info("job %s (%s): %s", job["jobId"], job["jobName"], state)
        self._keep(scope, job)
        try:
            records.emit_state_change(scope, job)
        except Exception:
            _log.exception("event of job %s", job["jobId"])

    def _keep(self, scope: Scope, job: Record) -> None:
        self._store.put(KIND, f"{scope.account} {scope.region} {job['jobId']}", json.dumps(job))


def vcpus(job: Record) -> float:
    """How many vCPUs a job asks for."""
    for requirement in job["container"].get("resourceRequirements", []):
        if requirement.get("type") == "VCPU":
            return float(requirement["value"])
    return float(job["container"].get("vcpus", 1))


def record_attempt(job: Record, outcome: Record, reason: str, started_ms: int, stopped_ms: int) -> None:
    """Add an attempt that has ended to the job's record."""
    job["attempts"].append(
        {
            "container": {"taskArn": job["container"].get("taskArn", ""), **outcome},
            "startedAt": started_ms,
            "stoppedAt": stopped_ms,
            "statusReason": reason,
        }
    )


def may_retry(job: Record, exit_code: int | None, reason: str | None, status_reason: str) -> bool:
    """Whether the retry strategy gives the job, whose last attempt failed so, another one."""
    strategy = job.get("retryStrategy") or {}
    if len(job["attempts"]) >= int(strategy.get("attempts", 1)):
        return False
    met = {
        "onExitCode": "" if exit_code is None else str(exit_code),
        "onReason": reason or "",
        "onStatusReason": status_reason,
    }
    for rule in strategy.get("evaluateOnExit", []):
        if all(records.matches(met[key], rule[key]) for key in met if key in rule):
            return str(rule.get("action", "")).upper() == "RETRY"
    return True
