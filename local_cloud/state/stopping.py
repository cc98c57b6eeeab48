"""A clean stop: running work may end, interrupted work is queued again, and then everything is saved.

When the cloud is stopped, nothing new starts, but requests are still served, because running work needs its
buckets. Work that still runs after a few seconds is interrupted: no attempt is used up, and the next start
runs it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from local_cloud.patches import Original, replaces
from local_cloud.state.store import Store

_LET_END_S = 5.0
"""Time for running work when the cloud is stopped: enough for short work, but not too long to wait at a
shell."""
_log = logging.getLogger("stopping")


class BackgroundWork:
    """Background work that starts with `resume`: events, jobs. `_running` contains what runs now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = threading.Condition(store.lock)
        self._paused = True
        self._abandoned = False
        """Whether results are ignored."""
        self._running: dict[Any, Any] = {}

    def resume(self) -> None:
        """Start working, when everything is loaded and the server answers."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def pause(self) -> None:
        """Start nothing more."""
        self._paused = True

    def wait_until_idle(self, timeout_s: float) -> None:
        """Wait until nothing runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running, timeout_s)

    def abandon(self) -> None:
        """Keep what still runs for the next start, however it ends."""
        with self._changed:
            self._abandoned = True


def install(works: Sequence[BackgroundWork], save_and_close: Callable[[], None]) -> None:
    """Have the server end our way, at SIGTERM. `save_and_close` runs on the event loop."""
    import hypercorn.asyncio

    async def until_stopped() -> None:
        loop, told, ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)

        def let_end() -> None:
            _let_end(works)
            loop.call_soon_threadsafe(ended.set)

        await told.wait()
        threading.Thread(target=let_end, daemon=True, name="stopping").start()
        await ended.wait()
        try:
            save_and_close()
        except Exception:
            _log.exception("the last save failed")
        # Nothing may change any more, neither here nor in what still runs: its keepers end it with us.
        os._exit(0)

    @replaces(hypercorn.asyncio, "serve")
    async def serve_until_stopped(serve: Original, app: Any, config: Any) -> None:
        await serve(app, config, shutdown_trigger=until_stopped)


def _let_end(works: Sequence[BackgroundWork]) -> None:
    until = time.monotonic() + _LET_END_S
    for work in works:
        work.pause()
    for work in works:
        work.wait_until_idle(max(0.0, until - time.monotonic()))
    for work in works:
        work.abandon()
