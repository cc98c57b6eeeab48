"""Lambda functions that are container images of the embedded ECR, run in namespaces instead of by Docker.

As on AWS, a tag is resolved when the function is created or its code updated, and Lambda's rules for images
hold; the digest is in `CodeSha256` and `ResolvedImageUri`.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners

from containers.errors import ErrorKind
from local_cloud.containers.processes import ContainerFailedError, RunningContainer
from local_cloud.containers.task import ContainerTask
from local_cloud.ecr.references import ImageNotUsableError, lambda_image_digest, parse_uri
from local_cloud.ecr.store import RepositoryStore
from local_cloud.lambda_functions.image_workers import ImageWorker, InitFailedError, RuntimeEndedError
from local_cloud.patches import Original, replaces

Record = dict[str, Any]
_TIMED_OUT, _EXITED = "Sandbox.Timedout", "Runtime.ExitError"
_OK = 200
_ERRORS_FROM = 400
_log = logging.getLogger("image-functions")


class ImageFunctions:
    """Runs image functions; `endpoint` is the cloud's URL."""

    def __init__(self, store: RepositoryStore, endpoint: str) -> None:
        self._store = store
        self._endpoint = endpoint

    def install(self) -> None:
        """Replace Docker, and check images when functions are created and updated."""
        functions = self

        class Worker(ImageWorker):
            """Finds the images."""

            endpoint = functions._endpoint

            @staticmethod
            def find_image(config: Record) -> tuple[str, str]:
                return functions._locate(config)

        @replaces(lambda_runtime, "_worker_class_for")
        def choose_worker_class(worker_class_for: Original, config: Record) -> Any:
            return Worker if config.get("PackageType") == "Image" else worker_class_for(config)

        @replaces(lambda_svc, "_execute_function_docker")
        def execute(by_docker: Original, function: Record, event: Any, request_id: str) -> Any:
            config = function.get("config") or function
            if config.get("PackageType") != "Image":
                return by_docker(function, event, request_id)
            return invoke(config, event, request_id)

        lambda_svc.reap_idle_workers = reap_idle
        self._check_calls()
        self._check_templates()

    def _check_calls(self) -> None:
        @replaces(lambda_svc, "_build_config")
        def build_config(build: Original, name: str, data: Record, *more: Any, **others: Any) -> Record:
            config: Record = build(name, data, *more, **others)
            if uri := (data.get("Code") or {}).get("ImageUri"):
                config["CodeSha256"] = self._resolve(uri)
            return config

        @replaces(lambda_svc, "_create_function")
        def create_function(create: Original, data: Record) -> Any:
            if uri := (data.get("Code") or {}).get("ImageUri"):
                try:
                    self._resolve(uri)
                except ImageNotUsableError as error:
                    return _invalid(str(error))
            answer = create(data)
            if uri and answer[0] < _ERRORS_FROM:
                self._prepare(lambda_svc._functions[data["FunctionName"]]["config"])
            return answer

        @replaces(lambda_svc, "_update_code")
        def update_function_code(update_code: Original, name: str, data: Record) -> Any:
            config = (lambda_svc._functions.get(name) or {}).get("config")
            if config is None:
                return update_code(name, data)
            is_image, uri = config.get("PackageType") == "Image", data.get("ImageUri")
            if is_image and not uri:
                return _invalid("Please provide ImageUri when updating a function with packageType Image.")
            if uri and not is_image:
                return _invalid(
                    "Please don't provide ImageUri when updating a function with packageType Zip."
                )
            if not uri:
                return update_code(name, data)
            before = config.get("CodeSha256")
            try:
                config["CodeSha256"] = self._resolve(uri)
            except ImageNotUsableError as error:
                return _invalid(str(error))
            answer = update_code(name, data)
            if answer[0] >= _ERRORS_FROM:
                config["CodeSha256"] = before
            else:
                self._prepare(config)
            return answer

        @replaces(lambda_svc, "_update_config")
        def update_function_configuration(update_config: Original, name: str, data: Record) -> Any:
            answer = update_config(name, data)
            config = (lambda_svc._functions.get(name) or {}).get("config") or {}
            if answer[0] < _ERRORS_FROM and config.get("PackageType") == "Image":
                _end_environments(name, qualifier="$LATEST")
            return answer

        @replaces(lambda_svc, "_get_function")
        def get_resolved(get_function: Original, name: str, qualifier: str | None = None) -> Any:
            status, headers, body = get_function(name, qualifier)
            if status != _OK:
                return status, headers, body
            answer = json.loads(body)
            code, config = answer["Code"], answer["Configuration"]
            reference = parse_uri(code.get("ImageUri", ""))
            if reference is not None:
                code["ResolvedImageUri"] = reference.with_digest(f"sha256:{config['CodeSha256']}")
            return status, headers, json.dumps(answer).encode()

    def _check_templates(self) -> None:
        handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
        create, delete = provisioners._lambda_create, provisioners._lambda_delete

        def create_function(logical_id: str, properties: Record, stack: str) -> tuple[str, Record]:
            uri = (properties.get("Code") or {}).get("ImageUri")
            digest = self._resolve(uri) if uri else None
            made: tuple[str, Record] = create(logical_id, properties, stack)
            if digest:
                config = lambda_svc._functions[made[0]]["config"]
                config["CodeSha256"] = digest
                self._prepare(config)
            return made

        def delete_function(physical_id: str, properties: Record) -> None:
            delete(physical_id, properties)
            _end_environments(physical_id)

        for name, replacement in (("_lambda_create", create_function), ("_lambda_delete", delete_function)):
            replaced = getattr(provisioners, name)
            for action, handler in handlers.items():
                if handler is replaced:
                    handlers[action] = replacement
            setattr(provisioners, name, replacement)
        # As on AWS: the package type cannot change in place, and the new function cannot have the old one's
        # name while that exists. ministack would overwrite the function.
        provisioners._CUSTOM_NAME_REPLACEMENT["AWS::Lambda::Function"] = {"name": "FunctionName"}

    def _resolve(self, uri: str) -> str:
        """The hexadecimal digest of the image that `uri` names. Raises ImageNotUsableError."""
        return lambda_image_digest(self._store, uri).removeprefix("sha256:")

    def _locate(self, config: Record) -> tuple[str, str]:
        """Folder and digest of a function's image."""
        reference = parse_uri(config["ImageUri"])
        if reference is None:
            raise ContainerFailedError(
                ErrorKind.IMAGE_NOT_FOUND, f"Source image {config['ImageUri']} is not valid"
            )
        return str(self._store.folder(reference.key)), f"sha256:{config['CodeSha256']}"

    def _prepare(self, config: Record) -> None:
        """Unpack the image now, so that the first event need not wait for it."""
        layout, digest = self._locate(config)
        task = ContainerTask(
            image=config["ImageUri"], env={}, layout=layout, digest=digest, only_prepare=True
        )

        def prepare() -> None:
            container = RunningContainer(task)
            container.process.wait()
            if failure := container.failure():
                _log.warning("image %s: %s", config["ImageUri"], failure)
            container.end()

        threading.Thread(target=prepare, daemon=True, name="image-preparation").start()


def invoke(config: Record, event: Any, request_id: str) -> Record:
    """One invocation, in a warm environment or a new one: the answer or error, and the log."""
    lambda_svc._ensure_reaper_thread()
    worker, _how = lambda_runtime.acquire_worker(
        config["FunctionName"], config, b"", qualifier=config.get("Version", "$LATEST")
    )
    try:
        result = worker.invoke(
            event,
            request_id,
            trace_id=lambda_svc._xray_trace_id_for_invocation(config),
            invoked_function_arn=config.get("FunctionArn", ""),
        )
        if result["status"] == "ok":
            return {"body": result["result"], "log": worker.take_log()}
        return _failed(result["error_payload"], worker, config, request_id)
    except InitFailedError as error:
        return _failed(error.payload, worker, config, request_id)
    except RuntimeEndedError as error:
        worker.ending = str(error)
        return _failed({"errorType": _EXITED}, worker, config, request_id)
    except lambda_runtime.ProvidedInitTimeout:
        return _failed({"errorType": _TIMED_OUT}, worker, config, request_id)
    except ContainerFailedError as error:
        kind = (
            "Runtime.InvalidEntrypoint" if error.kind == ErrorKind.CANNOT_START else f"Runtime.{error.kind}"
        )
        payload = {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {error}"}
        return _failed(payload, worker, config, request_id)
    finally:
        lambda_runtime.release_worker(worker)


def _failed(payload: Any, worker: Any, config: Record, request_id: str) -> Record:
    """Lambda's answer and log. A runtime's own error is passed on unchanged."""
    kind = payload.get("errorType") if isinstance(payload, dict) else None
    log = worker.take_log()
    more = ""
    if kind == _TIMED_OUT:
        text = f"Task timed out after {float(config.get('Timeout', 3)):.2f} seconds"
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        more = f"{now} {request_id} {text}"
        payload = {"errorType": kind, "errorMessage": f"RequestId: {request_id} Error: {text}"}
    elif kind == _EXITED:
        ending = worker.ending or "exit status 0"
        text = f"RequestId: {request_id} Error: Runtime exited with error: {ending}"
        if ending == "exit status 0":
            text = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
        more = f"{text}\n{kind}"
        payload = {"errorType": kind, "errorMessage": text}
    elif isinstance(payload, dict) and str(kind).startswith("Runtime.") and "errorMessage" in payload:
        more = f"{payload['errorMessage']}\n{kind}"
    for line in more.splitlines():
        worker.keep_line(worker, line)
    return {"body": payload, "error": True, "log": "\n".join(filter(None, (log, more)))}


def reap_idle(ttl: float | None = None) -> int:
    """End environments that have been idle for long: of an image function all, as each keeps an image."""
    ended: int = lambda_runtime.reap_idle_workers(ttl)
    oldest = time.time() - (lambda_runtime._LOCAL_WORKER_TTL if ttl is None else ttl)
    idle: list[Any] = []
    with lambda_runtime._lock:
        for workers in lambda_runtime._workers.values():
            gone = [
                worker
                for worker in workers
                if isinstance(worker, ImageWorker) and not worker.in_use and worker.last_used < oldest
            ]
            workers[:] = [worker for worker in workers if worker not in gone]
            idle += gone
    lambda_runtime.kill_workers(idle)
    return ended + len(idle)


def _end_environments(name: str, qualifier: str | None = None) -> None:
    lambda_runtime.invalidate_worker(name, qualifier=qualifier, account=get_account_id(), region=get_region())


def _invalid(message: str) -> Any:
    return error_response_json("InvalidParameterValueException", message, 400)
