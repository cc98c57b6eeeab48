"""Snapshots of the emulator's services, taken while it runs and loaded when it starts.

ministack saves each service to a file on a clean exit. Here, all services are saved in one transaction,
shortly after each request that may have changed one, and less often the longer that takes. Saving runs on the
event loop, where no request is half done.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import ministack.app
from ministack.core import persistence
from ministack.services import lambda_svc

from local_cloud.asgi import Receive, Scope, Send
from local_cloud.patches import Original, replaces
from local_cloud.state.store import Store

_KIND = "service"
_AFTER_S = 0.5
"""From the first change to the save of it, if saving is quick."""
_AT_LEAST_EVERY_S = 10.0
"""For what changes without a request."""
_FREQUENT = re.compile(
    r"(Describe|Get|List|Filter|Receive|SendMessage|DeleteMessage|ChangeMessage|PutLogEvents|CreateLogStream"
    r"|(Put|Update|Delete)Item|Batch(Get|Write)Item|Transact|Query|Scan)"
)
"""Calls by `X-Amz-Target` that change nothing, or only what is not part of a snapshot."""
_SHARE = 0.02
"""Maximum share of one core's time for saving."""
_LARGE = 65_536
"""Bytes from which a value, such as the content of a layer, is saved as a file of its own."""
_FILE = "scar:file"
_TRIES = 10
_log = logging.getLogger("saving")


class Snapshots:
    """Watches the requests that pass, and saves on the event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = threading.Event()
        self._saved: dict[str, str] = {}
        self._files = _Files()

    def install(self, restore: Sequence[Callable[[], None]]) -> None:
        """Install between the server and the emulator, and replace its own saving and loading.

        `restore` restores data of the services outside their snapshots, after those are loaded.
        """

        @replaces(ministack.app, "app")
        async def watched(serve: Original, scope: Scope, receive: Receive, send: Send) -> None:
            await serve(scope, receive, send)
            if scope["type"] == "http" and changes_a_service(scope):
                self._changed.set()

        def load() -> None:
            self._load()
            for put_back in restore:
                put_back()

        @replaces(ministack.app, "_reset_all_state")
        def reset_all(reset: Original) -> None:
            reset()
            with self._store.transaction():
                self._saved.clear()
                self._store.clear()

        ministack.app._load_persisted_state = load
        ministack.app.save_all = lambda _services: None
        self._files.install()
        threading.Thread(target=self._save_after_changes, daemon=True, name="saving").start()

    def save(self) -> None:
        """Save what has changed. Only on the event loop's thread.

        If another thread is changing the records of a service, saving is retried. If that does not help,
        nothing is saved until the next time.
        """
        with self._store.transaction():
            for _ in range(_TRIES):
                try:
                    now = self._snapshot()
                except RuntimeError:  # a dictionary changed its size while it was copied
                    continue
                changed = {service for service, text in now.items() if self._saved.get(service) != text}
                for service in changed:
                    self._store.put(_KIND, service, now[service])
                self._saved.update(now)
                break
            else:
                self._changed.set()
                return
        if changed:  # check again, because work continues after a request was answered
            self._changed.set()
        if not self._store.owes and self._saved.keys() <= now.keys():
            self._files.remove_unused()

    def save_and_close(self) -> None:
        """Save for the last time. Only on the event loop's thread; later changes are lost."""
        self.save()
        self._store.close()

    async def _timed_save(self) -> float:
        started = time.thread_time()
        self.save()
        return time.thread_time() - started

    def _save_after_changes(self) -> None:
        pause_s = _AFTER_S
        while True:
            self._changed.wait(_AT_LEAST_EVERY_S)
            time.sleep(pause_s)
            self._changed.clear()
            try:
                saving = asyncio.run_coroutine_threadsafe(self._timed_save(), ministack.app._MAIN_LOOP)
                pause_s = max(_AFTER_S, saving.result() / _SHARE)
            except Exception:
                _log.exception("saving failed")
            self._store.checkpoint()
            if self._store.owes:
                self._changed.set()

    def _snapshot(self) -> dict[str, str]:
        texts: dict[str, str] = {}
        self._files.used.clear()
        for service, get_state in ministack.app._build_persistence_save_dict().items():
            try:
                if (state := get_state()) is not None:
                    texts[service] = json.dumps(state, default=self._files.encoded)
            except (TypeError, ValueError, OSError):
                _log.exception("%s cannot be saved", service)
        return texts

    def _load(self) -> None:
        for service, text in self._store.items(_KIND):
            self._saved[service] = text
            if (module := ministack.app._state_map.get(service)) is None:
                continue
            try:
                state = json.loads(text, object_hook=self._files.decoded)
                ministack.app._get_module(module).load_persisted_state(state)
            except Exception:
                _log.exception("%s cannot be restored, and starts empty", service)


def changes_a_service(scope: Scope) -> bool:
    """Whether a request may change the content of a snapshot. The most frequent ones do not: objects are
    files, and events, jobs, messages, items of tables and log lines are items of the store.
    """
    path: str = scope["path"]
    headers = dict(scope["headers"])
    if scope["method"] in ("GET", "HEAD") or path.endswith("/invocations"):
        return False
    if b"/s3/aws4_request" in headers.get(b"authorization", b""):
        return "/" not in path.strip("/")
    if path.startswith(("/v1/describe", "/v1/list", "/v1/submitjob")):
        return False
    action = headers.get(b"x-amz-target", b"").decode("latin-1").rpartition(".")[2]
    return _FREQUENT.match(action) is None


class _Files:
    """Large values, such as the code of functions and the content of layers.

    A value is written once, to a file that is named by the hash of its content, and the snapshot has the
    hash. ministack has such files for code.
    """

    def __init__(self) -> None:
        self.used: set[str] = set()
        """Hashes in the current snapshot."""
        self._hashes: dict[int, tuple[bytes, str]] = {}

    def install(self) -> None:
        """Have a file written once, and removed when no snapshot on disk names it any more."""
        self._remove_others = lambda_svc._prune_orphan_code_blobs

        @replaces(lambda_svc, "_write_code_blob")
        def write_once(write: Original, content: bytes) -> str:
            known = self._hashes.get(id(content))
            if known is None or known[0] is not content:
                known = self._hashes[id(content)] = content, write(content)
            return known[1]

        lambda_svc._prune_orphan_code_blobs = self.used.update

    def encoded(self, value: Any) -> Any:
        """What JSON contains instead of a value that is not one of JSON's."""
        if not isinstance(value, bytes) or len(value) < _LARGE:
            return persistence._json_default(value)
        name = lambda_svc._write_code_blob(value)
        self.used.add(name)
        return {_FILE: name}

    def decoded(self, found: dict[str, Any]) -> Any:
        """The value for an object of JSON; None, after a message in the log, if its file is missing."""
        if found.keys() == {_FILE}:
            return lambda_svc._read_code_blob(found[_FILE])
        return persistence._json_object_hook(found)

    def remove_unused(self) -> None:
        """Remove the files that the last snapshot does not name, once it is committed."""
        self._hashes = {key: known for key, known in self._hashes.items() if known[1] in self.used}
        self._remove_others(self.used)
