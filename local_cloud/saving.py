"""Saves the cloud's state while it runs.

ministack saves it when it ends in good order, and only then. A cloud that is killed, or whose machine is
switched off, would come back with its buckets' objects, which are on disk at once, but without the stacks,
functions and queues around them. So this saves a little after each request that may have changed something,
and less often the longer a save takes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import ministack.app
from ministack.core import persistence

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_AFTER_S = 2.0
"""From the first change to the save of it, if saving is quick."""
_SHARE = 0.05
"""Of one core's time, at most, goes into saving."""
_log = logging.getLogger("saving")


class RegularSaves:
    """Watches the requests that pass, and saves from a thread of its own."""

    def __init__(self) -> None:
        self._changed = threading.Event()
        self._saving = threading.Lock()

    def install(self) -> None:
        """Put ourselves between the server and the emulator. The event queue calls `changed` too."""
        serve = ministack.app.app

        async def watched(scope: _Scope, receive: _Receive, send: _Send) -> None:
            await serve(scope, receive, send)
            if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
                self._changed.set()

        ministack.app.app = watched
        # The last save, when the emulator ends, must not meet one of ours: both write to the same temporary
        # names.
        save_all = ministack.app.save_all

        def save_all_alone(services: dict[str, Any]) -> None:
            with self._saving:
                save_all(services)

        ministack.app.save_all = save_all_alone
        logging.getLogger("persistence").setLevel(logging.WARNING)  # it tells about every file of every save
        threading.Thread(target=self._save_after_changes, daemon=True, name="saving").start()

    def _save_after_changes(self) -> None:
        pause_s = _AFTER_S
        while True:
            self._changed.wait()
            time.sleep(pause_s)
            self._changed.clear()
            started = time.thread_time()
            with self._saving:
                _save()
            pause_s = max(_AFTER_S, (time.thread_time() - started) / _SHARE)


def _save() -> None:
    for service, get_state in ministack.app._build_persistence_save_dict().items():
        try:
            state = get_state()
        except RuntimeError:
            # A dictionary changed while it was copied: requests go on meanwhile. The next save has it, and
            # the request that changed it has made sure of one.
            _log.info("%s changed while it was saved", service)
            continue
        if state is not None:
            persistence.save_state(service, state)
