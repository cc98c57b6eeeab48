"""One invocation, from its input object to its uploaded files.

    stage-in    the object is streamed to disk, or a request's body written        (storage)
    image       the image's root file system is prepared                           (images)
    run         script or entry point in the container, until it ends or times out (engines)
    stage-out   every file in TMP_OUTPUT_DIR is uploaded to the outputs that accept it (outputs, storage)
    result      the folder and the lease of the image are released

Each stage writes one log line, and the invocation one summary, also on failure. Nothing is uploaded before
the container has succeeded, so a run that fails or is killed at any moment leaves no incomplete file that
would start the next function of the workflow. Success means that everything is uploaded.

At `JobSetting.deadline`, the engine kills the container, or the download is interrupted. Uploads must end by
`JobSetting.uploads_until`, and do not start if they would take longer. In `lambda-batch` mode
(`JobSetting.delegate`), Batch then runs the invocation from the start, also if it ran out of memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from containers.errors import ErrorKind, ExplainedError
from containers.store import ImageSource, RootFilesystem, prepare_image
from runtime import outputs, summary
from runtime.answer import AwaitedOutput
from runtime.assembled import EnclosingImage, writable_folder
from runtime.command import prepare_argv, script_of, write_script
from runtime.config import FunctionConfig
from runtime.ending import interrupted_at, require_success, time_is_up
from runtime.environment import container_environment
from runtime.errors import ContainerError
from runtime.events.invocation import Invocation
from runtime.events.reading import EMPTY
from runtime.logs import ContainerOutput, Log, Stage
from runtime.memory import kills_for_memory
from runtime.reachable import host_ports
from runtime.storage.kinds import open_storage
from runtime.trace import Trace
from runtime.workspace import Workspace, explain_os_error, file_name, new_workspace, require_space

if TYPE_CHECKING:
    from containers.engines import ContainerResult, Engine
    from runtime.once import Claim
    from runtime.storage.contract import Upload

ReadyImage = EnclosingImage | RootFilesystem

LARGER_MAY_SUCCEED = (ErrorKind.TIMED_OUT, ErrorKind.OUT_OF_MEMORY)
"""Reasons of a failure that another attempt of the same size does not remove."""

DEFAULT_STORE = "/tmp/scar"  # noqa: S108 (Lambda's only writable folder)


@dataclass(frozen=True, slots=True)
class JobSetting:
    """The context of a job: what the entry points know and the event does not contain."""

    config: FunctionConfig
    environ: Mapping[str, str]
    """The runner's own environment."""
    request_id: str
    deadline: float
    """When the container must have ended (`time.monotonic`)."""
    log: Log
    cold: bool
    """The first invocation of this execution environment."""
    init_ms: float | None = None
    """Milliseconds that the process took to become ready, if it is `cold`."""
    uploads_until: float = math.inf
    """When uploads must have ended (`time.monotonic`): shortly before the runner is killed."""
    delegate: Callable[[Invocation], str] | None = None
    """Called on a timeout or without memory instead of failing; returns the id of the Batch job."""
    uploads: bool = True
    """Whether the output files are uploaded: not by the other nodes of a job on several nodes."""

    @property
    def store(self) -> Path:
        """Where images and the folders of invocations are."""
        return Path(self.environ.get("SCAR_STORE") or DEFAULT_STORE)


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of an invocation that did not fail."""

    subject: str
    status: str = "done"
    """`done`, `skipped` (the object turned out to be empty), `duplicate` (`once`), `delegated`, or `node
    done`: without uploads."""
    exit_code: int | None = None
    uploaded: list[str] = field(default_factory=list)
    """Complete URIs."""
    job_id: str | None = None
    output: str = ""
    """The last lines of the container's output."""
    stdout: bytes = b""
    """All of its standard output, for an HTTP request."""


class DuplicateInput(Exception):  # noqa: N818 (not an error: the way out of a run with `once`)
    """The input was already processed, or another run is at work on it; the text is the reason."""


class EmptyInput(Exception):  # noqa: N818 (not an error: the way out of stage-in)
    """The event did not give the object's size, and it is a zero-byte marker."""


def seconds_for_uploads(threshold_s: float) -> float:
    """The part of the reserved seconds for uploads; the rest is for stopping, cleaning up and answering."""
    return threshold_s - min(2.0, threshold_s / 5)


def run_job(invocation: Invocation, setting: JobSetting) -> JobResult:
    """Run one invocation through all stages. Raises `ExplainedError` if it failed."""
    log = setting.log.bind(subject=invocation.subject)
    job = _Job(invocation, setting, log)
    started = time.monotonic()

    def sum_up(status: str, *, level: str = "INFO", **more: object) -> None:
        total_ms = summary.ms_between(started, time.monotonic())
        trace = {} if job.trace is None else job.trace.fields
        told = {"status": status, "cold": setting.cold, **job.found, **more, **trace, "total_ms": total_ms}
        told = {name: value for name, value in told.items() if value is not None}
        if setting.environ.get(summary.METRICS_VARIABLE) != "false":
            told["_aws"] = summary.embedded_metrics(
                {**log.fields, **told}
            )  # the last one: see docs/metrics.md
        log.write(level, "summary", told)
        if any(name in setting.environ for name in summary.EXPORT_VARIABLES):
            job.export(told, started)

    try:
        result = job.run()
    except ExplainedError as error:
        if error.kind in LARGER_MAY_SUCCEED and setting.delegate is not None:
            try:
                job_id = setting.delegate(invocation)
            except ExplainedError as refused:
                sum_up("failed", level="ERROR", kind=refused.kind, error=str(refused))
                raise
            sum_up("delegated", job_id=job_id, reason=error.kind)
            return JobResult(invocation.subject, status="delegated", job_id=job_id)
        more: dict[str, object] = {}
        if isinstance(error, ContainerError):
            more = {"exit_code": error.exit_code, "signal": error.signal, "last_lines": error.output}
        sum_up("failed", level="ERROR", **more, kind=error.kind, error=str(error))
        raise
    except Exception as error:
        sum_up("failed", level="ERROR", kind=type(error).__name__, error=str(error))
        raise
    sum_up(result.status)
    return result


def preheat(setting: JobSetting) -> dict[str, object]:
    """Prepare image and engine for the first event, without running anything. Raises `ExplainedError`."""
    with ExitStack() as held:
        job = _Job(Invocation(event={}, time=""), setting, setting.log)
        told = {**_told_of(job.ready_image(held)), "engine": job.engine().name}
    setting.log.info("preheated", **told)
    return told


@dataclass(frozen=True, slots=True)
class _Ran:
    """How the container ended."""

    ended: ContainerResult
    output: ContainerOutput
    stdout: bytes
    """All of its standard output, for an HTTP request."""


class _Job:
    """The stages of one invocation. Each returns its result; only `run` records it."""

    def __init__(self, invocation: Invocation, setting: JobSetting, log: Log) -> None:
        self.invocation = invocation
        self.setting = setting
        self.config = setting.config
        self.log = log
        self.found: dict[str, object] = {
            **summary.where(setting.environ),
            "attempt": invocation.attempt,
            "queued_ms": None if invocation.source is None else summary.queued_ms(invocation.time),
            "init_ms": setting.init_ms if setting.cold else None,
        }
        """Facts for the summary, which is also written if a stage fails. None: unknown."""
        self.stages: list[Stage] = []
        self.trace: Trace | None = None
        """None: the metadata of the input is not known yet."""
        if invocation.source is None:
            self.trace = Trace.of_request(setting.request_id, setting.environ)
        self.claim: Claim | None = None
        """The claim on the input, with `once`."""

    def export(self, fields: Mapping[str, object], started: float) -> None:
        """Send the run, which has ended with these fields of the summary, to a collector."""
        from runtime import otlp

        source, trace = self.invocation.source, self.trace
        if trace is None and source is not None:  # its input could not be read
            trace = Trace.of_object(source, {})
        if trace is None:
            return
        run = otlp.RunSpans(
            trace=trace,
            function=self.config.name,
            request_id=self.setting.request_id,
            subject=self.invocation.subject,
            has_input=source is not None,
            fields=fields,
            started=started,
            stages=self.stages,
        )
        otlp.export(run, self.setting.environ, self.log, self.setting.uploads_until)

    def run(self) -> JobResult:
        with ExitStack() as held:
            try:
                result = self._stages(held)
            except DuplicateInput as duplicate:
                self.found["reason"] = str(duplicate)
                result = JobResult(self.invocation.subject, status="duplicate")
            except EmptyInput:
                self.log.info("skipped", reason=EMPTY)
                result = JobResult(self.invocation.subject, status="skipped")
            except OSError as error:
                raise explain_os_error(error, self.setting.store, "The run failed") from error
            with self.log.stage("result") as stage:
                stage.extra = {"status": result.status, "uploaded": len(result.uploaded)}
                held.close()
        return result

    def _stages(self, held: ExitStack) -> JobResult:
        self._take_claim(held)
        workspace = held.enter_context(new_workspace(self.setting.store))
        input_file = self._stage_in(workspace)
        if input_file is not None:
            self.found["input_bytes"] = input_file.stat().st_size
        root = self.ready_image(held)
        self.found |= _told_of(root)
        with self._stage("run") as stage:
            engine = self.engine()
            stage.extra["engine"] = self.found["engine"] = engine.name
            kills_before = kills_for_memory()
            ran = self._run(engine, workspace, root, input_file)
            stage.bytes = ran.output.bytes
            stage.extra["exit_code"] = self.found["exit_code"] = ran.ended.exit_code
            self.found["memory_bytes"] = ran.ended.memory_bytes
            self.found["cpu_ms"] = None if ran.ended.cpu_s is None else round(ran.ended.cpu_s * 1000, 1)
            if ran.ended.network:
                stage.extra["network"] = ran.ended.network
            require_success(ran.ended, ran.output.last_lines, self.setting.store, kills_before)
        if not self.setting.uploads:
            return JobResult(self.invocation.subject, status="node done", exit_code=0)
        uploads = self._stage_out(workspace)
        self.found |= {
            "output_bytes": sum(upload.size for _provider, upload in uploads),
            "output_files": len(uploads),
            "outputs": summary.shown_outputs(uploads),
        }
        return JobResult(
            self.invocation.subject,
            exit_code=0,
            uploaded=[f"{provider}://{upload.bucket}/{upload.key}" for provider, upload in uploads],
            output=ran.output.last_lines,
            stdout=ran.stdout,
        )

    def _take_claim(self, held: ExitStack) -> None:
        """Claim the input of a function with `once`. Raises `DuplicateInput` if there is nothing to do."""
        source = self.invocation.source
        if not self.config.once or source is None or not self.setting.uploads:
            return
        from runtime.once import Claim, Claimant

        setting, message = self.setting, self.invocation.item
        if "AWS_BATCH_JOB_ID" in setting.environ:
            claimant = Claimant("job", setting.request_id)
        else:
            claimant = Claimant("message", message) if message else Claimant("request", setting.request_id)
        claim = Claim.of(source, setting.environ, function=self.config.name, claimant=claimant, log=self.log)
        if claim is None:
            self.log.warning("not claimed", reason="the event has neither a version nor a sequencer")
            return
        with self.log.stage("claim"), interrupted_at(setting.deadline):
            reason = claim.take(setting.deadline - 1)
        if reason is not None:
            raise DuplicateInput(reason)
        self.claim = held.enter_context(claim)

    @contextmanager
    def _stage(self, name: str) -> Iterator[Stage]:
        """A stage whose duration is in the summary."""
        stage = None
        try:
            with self.log.stage(name) as stage:
                yield stage
        finally:
            if stage is not None:
                self.stages.append(stage)
                self.found[f"{name.replace('-', '_')}_ms"] = stage.duration_ms

    def _stage_in(self, workspace: Workspace) -> Path | None:
        source, body = self.invocation.source, self.invocation.body
        with self._stage("stage-in") as stage, interrupted_at(self.setting.deadline):
            if source is None and body is None:
                return None
            if source is None:
                target = workspace.input / "body"
                require_space(workspace.input, len(body or b""), "The body of the request")
                stage.bytes = target.write_bytes(body or b"")
            else:
                target = workspace.input / file_name(source.base_name)
                if target.name != source.base_name:
                    stage.extra["renamed_to"] = target.name

                def check(size: int) -> None:
                    if size == 0:
                        raise EmptyInput
                    require_space(workspace.input, size, f"The input {source}")

                if source.size is not None:
                    check(source.size)
                storage = open_storage(source.provider, self.config.storage_providers)

                def continue_trace(metadata: Mapping[str, str]) -> None:
                    # Again if the download is repeated.
                    self.trace = self.trace or Trace.of_object(source, metadata)
                    # A run that is killed has no summary.
                    stage.extra |= self.trace.fields

                stage.bytes = storage.download(source, target, on_size=check, on_metadata=continue_trace)
            target.chmod(0o644)
        return target

    def ready_image(self, held: ExitStack) -> ReadyImage:
        """The image to run in: the one that contains this process, or one that is pulled and unpacked."""
        return self.config.assembled or self._fetch_image(held)

    def engine(self) -> Engine:
        """What runs the container."""
        if self.config.assembled is not None:
            from containers.engines.direct import DirectEngine

            return DirectEngine()
        from containers.engines import choose_engine

        return choose_engine(self.setting.store, self.setting.environ.get("SCAR_ENGINE"))

    def _fetch_image(self, held: ExitStack) -> RootFilesystem:
        environ = self.setting.environ
        archive = environ.get("SCAR_IMAGE_FILE")
        if self.config.image:
            source = ImageSource.registry(self.config.image)
        elif archive:
            source = ImageSource.archive_in_s3(archive)
        else:
            raise ExplainedError(
                f"Function {self.config.name} has neither an image nor SCAR_IMAGE_FILE",
                advice="Deploy the function again.",
                kind=ErrorKind.MISCONFIGURED,
            )
        with self._stage("image") as stage, interrupted_at(self.setting.deadline):
            root = held.enter_context(
                prepare_image(
                    source,
                    store=self.setting.store,
                    mirrors=environ.get("SCAR_REGISTRY_MIRRORS"),
                    registry_credentials=self.config.registry_credentials,
                    deadline=self.setting.deadline,
                    log=lambda message, fields: self.log.info(message, **fields),
                )
            )
            stage.bytes = root.bytes_downloaded
            stage.extra = {"digest": root.digest, "cached": root.cached}
        return root

    def _run(self, engine: Engine, workspace: Workspace, root: ReadyImage, input_file: Path | None) -> _Ran:
        from containers.engines import ContainerProcess

        output = ContainerOutput()
        answer = AwaitedOutput()
        environment = container_environment(
            self.invocation,
            self.config,
            workspace,
            input_file=input_file,
            request_id=self.setting.request_id,
            environ=self.setting.environ,
            image_env=root.config.env,
        )
        working_dir = root.config.working_dir
        if self.config.assembled is not None:
            working_dir = writable_folder(working_dir, workspace)
        argv = self._argv(workspace, root, environment)
        payload = self.config.extra_payload
        if time.monotonic() >= self.setting.deadline:
            raise time_is_up("before the container was started")
        ended = engine.run(
            ContainerProcess(
                root=root,
                argv=argv,
                env=environment,
                working_dir=working_dir or "/",
                user=root.config.user,
                binds={workspace.path: str(workspace.path)},
                read_only={} if payload is None else {payload: str(payload)},
                spare_home=None if "HOME" in self.config.container_environment else str(workspace.home),
                shared={path: str(path) for path in self.config.file_systems if path.is_dir()},
                host_ports=host_ports(self.setting.environ, self.config.container_environment),
                deadline=self.setting.deadline,
                # Only standard output is the answer to a request; standard error goes to the log.
                on_output=answer.feed if self.invocation.awaited else output.feed,
                on_error_output=output.feed if self.invocation.awaited else None,
                measured=True,
            )
        )
        if self.invocation.awaited and ended.exit_code != 0:
            output.feed(answer.beginning)
        stdout = answer.complete() if self.invocation.awaited else b""
        output.close()
        return _Ran(ended, output, stdout)

    def _argv(self, workspace: Workspace, root: ReadyImage, environment: Mapping[str, str]) -> list[str]:
        content = script_of(self.invocation, self.config)
        script = None
        if content is not None:
            script = workspace.script
            if write_script(content, script):
                self.log.warning("script converted", reason="it had Windows line endings (CR LF)")
        return prepare_argv(root.path, root.config, script, self.invocation.arguments, environment)

    def _stage_out(self, workspace: Workspace) -> list[tuple[str, Upload]]:
        until, claim = self.setting.uploads_until, self.claim
        if claim is not None and (reason := claim.confirm(min(until, self.setting.deadline))) is not None:
            raise DuplicateInput(reason)
        with self._stage("stage-out") as stage:
            claim_id = None if claim is None else claim.id
            traceparent = None if self.trace is None else self.trace.header
            plan = outputs.plan_uploads(
                workspace.output, self.config.outputs, self.log, claim=claim_id, traceparent=traceparent
            )
            uploads = [(provider, upload) for provider, some in plan.items() for upload in some]
            stage.bytes = sum(upload.size for _, upload in uploads)
            stage.extra["files"] = len(uploads)
            outputs.upload_all(plan, self.config.storage_providers, until)
        return uploads


def _told_of(image: ReadyImage) -> dict[str, object]:
    """The fields of the summary about an image that may have been pulled."""
    return {"image_cached": image.cached} if isinstance(image, RootFilesystem) else {}
