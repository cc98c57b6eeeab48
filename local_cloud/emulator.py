"""The emulator's process: ministack with all of our additions, bootstrapped for the CDK.

The supervisor starts it with a clean environment and a pipe as standard input. When the pipe breaks, the
emulator saves its state and ends. When it is ready, or cannot be, the descriptor `--report` gets a line of
JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import select
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from local_cloud.access import credentials
from local_cloud.access.credentials import Credentials
from local_cloud.s3 import writes as s3_writes
from local_cloud.state.store import NAME, Store

MINISTACK_VERSION = "1.5.33"
"""The only version whose private names this package uses."""
_READY_WITHIN_S = 60.0
_FOR_CALLERS = 8
_END_WITHIN_S = 20.0


class UnknownEmulatorError(Exception):
    """This ministack does not have what our extensions replace."""


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="emulate")
    parser.add_argument("--parallel", type=int, required=True)
    parser.add_argument("--report", type=int, required=True)
    options = parser.parse_args(arguments)
    threading.Thread(target=_end_with_supervisor, daemon=True, name="supervisor-watch").start()
    try:
        root = credentials.load(Path(os.environ["STATE_DIR"]).parent)
        resume = install(parallel=options.parallel, root=root)
    except (UnknownEmulatorError, sqlite3.Error) as error:
        _report(options.report, {"error": str(error)})
        return
    threading.Thread(
        target=_finish_start, args=(options.report, resume), daemon=True, name="bootstrap"
    ).start()

    import ministack.app

    sys.argv = ["ministack"]
    ministack.app.main()


def install(  # noqa: PLR0915 (a line for each extension)
    *, parallel: int, root: Credentials
) -> Callable[[], None]:
    """Install the extensions into the ministack of this process. `root` is the developer's own access key.

    Returns a function that starts events and jobs.

    Raises:
        UnknownEmulatorError: another version is installed, or a private name is missing.
        sqlite3.Error: the state folder's database is damaged.
    """
    check_version()
    s3_writes.finish_interrupted(Path(os.environ["S3_DATA_DIR"]))
    try:
        from local_cloud.access import callers

        callers.install(root)  # before all modules that import its names
        from local_cloud.access import gatekeeper
        from local_cloud.batch import stack as batch_stack
        from local_cloud.batch import volumes
        from local_cloud.batch.api import Batch
        from local_cloud.cloudformation import (
            change_sets,
            custom_resources,
            nested_stacks,
            operations,
            secrets,
            security_group_rules,
        )
        from local_cloud.dynamodb import stack as dynamodb_stack
        from local_cloud.dynamodb.items import TableItems
        from local_cloud.ecr import Ecr
        from local_cloud.iam import policies
        from local_cloud.lambda_functions import destinations, loops, request_ids
        from local_cloud.lambda_functions import stack as lambda_stack
        from local_cloud.lambda_functions.events import EventQueue
        from local_cloud.lambda_functions.image_functions import ImageFunctions
        from local_cloud.lambda_functions.zip_workers import prepare_workers
        from local_cloud.logs import patterns
        from local_cloud.logs.events import LogEvents
        from local_cloud.logs.running import RunningLogs
        from local_cloud.messages import chains, rule_targets, topics
        from local_cloud.messages.move_tasks import MoveTasks
        from local_cloud.messages.queues import QueueMessages
        from local_cloud.metrics import alarms, data_points, published, queries
        from local_cloud.s3 import filters as s3_filters
        from local_cloud.s3 import reads as s3_reads
        from local_cloud.s3 import stack as s3_stack
        from local_cloud.state import answers, disk_space, stopping
        from local_cloud.state.saving import Snapshots
        from local_cloud.step_functions import distributed_maps

        store = Store(Path(os.environ["STATE_DIR"]).with_name(NAME))
        prepare_workers()
        events = EventQueue(parallel=parallel, store=store)
        events.install()
        request_ids.install()
        loops.install()
        chains.install()
        endpoint = f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}"
        ecr = Ecr(endpoint)
        ecr.install()
        ImageFunctions(ecr.store, endpoint).install()
        file_systems = Path(os.environ["STATE_DIR"]).with_name("efs")
        batch = Batch(
            parallel=parallel,
            endpoint=endpoint,
            store=store,
            images=ecr.store,
            file_systems=file_systems,
        )
        batch.install()
        logs, messages = LogEvents(store), QueueMessages(store, events.wake)
        items = TableItems(store)
        items.install()
        running_logs = RunningLogs(store, logs)
        logs.install()
        running_logs.install()
        messages.install()
        MoveTasks(store).install()
        for extension in (
            *(batch_stack, s3_reads, s3_filters, s3_stack, change_sets, custom_resources, topics),
            *(distributed_maps, secrets, security_group_rules, policies, s3_writes, volumes, rule_targets),
            *(dynamodb_stack, nested_stacks, operations, destinations, lambda_stack, patterns),
            *(data_points, published, queries),
        ):
            extension.install()
        alarms.install(published.Queues().sample)
        answers.install(store)
        snapshots = Snapshots(store)
        snapshots.install(
            [
                *(logs.restore, running_logs.restore, messages.restore, items.restore),
                *(events.restore, batch.restore),
            ]
        )
        disk_space.install()
        # Pushes pass the others by, but for the gatekeeper.
        ecr.serve()
        stopping.install([events, batch.runner], snapshots.save_and_close)
        gatekeeper.install(port=int(os.environ["GATEWAY_PORT"]))
    except (ImportError, AttributeError) as error:
        raise UnknownEmulatorError(f"ministack {MINISTACK_VERSION} is not as expected: {error}") from error

    def resume() -> None:
        answers.deliver_interrupted(store)
        events.resume()
        batch.runner.resume()

    return resume


def check_version() -> None:
    """Raise UnknownEmulatorError unless the installed ministack is the tested version."""
    try:
        version = importlib.metadata.version("ministack")
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    if version != MINISTACK_VERSION:
        raise UnknownEmulatorError(
            f"The embedded cloud needs ministack {MINISTACK_VERSION}, but {version} is installed. "
            "Install the pinned version: pip install -r requirements.txt"
        )


def environment(state: Path, *, port: int, region: str, parallel: int) -> dict[str, str]:
    """The settings of ministack: everything on loopback, all data below `state`, no Docker."""
    return {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "localhost",
        "MINISTACK_REGION": region,
        "AUTH": "true",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state / "services"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        "TMPDIR": str(state / "tmp"),
        "LAMBDA_EXECUTOR": "local",
        # The event queue runs `parallel` at once; these few more are for those who wait for an answer, such
        # as a stack's custom resources and functions that call functions.
        "LAMBDA_ACCOUNT_CONCURRENCY": str(parallel + _FOR_CALLERS),
        # Listeners of unused services.
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        # Never a Docker daemon, even if one is installed.
        "DOCKER_HOST": f"unix://{state}/no-docker.sock",
    }


def _finish_start(report: int, resume: Callable[[], None]) -> None:
    """Wait for the server, bootstrap it, resume interrupted work, then report that it is ready."""
    import ministack.app

    from local_cloud.cloudformation.bootstrap import bootstrap

    deadline = time.monotonic() + _READY_WITHIN_S
    while ministack.app._ready_scripts_state["status"] != "completed":
        if time.monotonic() > deadline:
            _report(report, {"error": f"The emulator was not ready within {_READY_WITHIN_S:g} seconds"})
            return
        time.sleep(0.02)
    try:
        region = os.environ["MINISTACK_REGION"]
        asyncio.run_coroutine_threadsafe(bootstrap(region), ministack.app._MAIN_LOOP).result(
            timeout=_READY_WITHIN_S
        )
    except Exception as error:
        _report(report, {"error": f"The emulator could not be bootstrapped for the CDK: {error}"})
        return
    resume()
    _report(report, {"ready": True})


def _report(descriptor: int, message: dict[str, object]) -> None:
    os.write(descriptor, json.dumps(message).encode() + b"\n")
    os.close(descriptor)


def _end_with_supervisor() -> None:
    """SIGTERM ourselves when standard input hangs up, which saves the state; later SIGKILL."""
    poll = select.poll()
    poll.register(0, 0)
    poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END_WITHIN_S)
    os.kill(os.getpid(), signal.SIGKILL)
