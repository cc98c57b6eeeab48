"""Work in other processes, so that a command uses several processors.

The processes are forked: they start within milliseconds, and have the credentials for which this process may
have asked. Forking is unsafe on macOS, and in a process with several threads. There, and on a machine with
one processor, the work is done in this process.
"""

from __future__ import annotations

import fcntl
import marshal
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from scar_cli.errors import UserError

Row = tuple[Any, ...]
"""Numbers, text, None, and tuples of them."""
_Result = TypeVar("_Result")
_AT_ONCE = 1000
PROCESSES = 2
"""How many others work for a command."""
_BUFFER_BYTES = 1024**2
"""Of a pipe. With the default of 64 KiB, both ends wait for each other."""
_AHEAD = 4 * PROCESSES


def rows_of(sources: Sequence[Callable[[], Iterator[Row]]]) -> Iterator[Row]:
    """The rows of all sources, each of which runs in a process of its own. Rows of several sources alternate;
    those of one source stay in order.

    Raises:
        UserError: a source raises it, or a process was killed.
    """
    if not _may_fork():
        for source in sources:
            yield from source()
        return
    with ExitStack() as held:
        running = deque(held.enter_context(_started(source)) for source in sources)
        while running:
            connection = running.popleft()
            if rows := _received(connection):
                yield from rows
                running.append(connection)


def mapped(function: Callable[[Any], _Result], items: Iterable[Any]) -> Iterator[_Result]:
    """Like `map`, but other processes call the function. Only a few items are taken ahead.

    Items are numbers, text, bytes, None, and tuples and lists of them.

    Raises:
        UserError: the function raises it, or a process was killed.
    """
    if not _may_fork():
        yield from map(function, items)
        return
    ahead: deque[Future[_Result]] = deque()
    pool = ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("fork"), _end_with_parent)
    try:
        for item in items:
            ahead.append(pool.submit(_called, function, marshal.dumps(item)))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BrokenProcessPool as error:
        raise _killed() from error
    finally:
        pool.shutdown(cancel_futures=True)


def _called(function: Callable[[Any], _Result], packed: bytes) -> _Result:
    # Unlike pickle, marshal does not look for classes, which takes half of the time.
    return function(marshal.loads(packed))  # noqa: S302 (of the process that started this one)


def _may_fork() -> bool:
    return sys.platform == "linux" and threading.active_count() == 1 and len(os.sched_getaffinity(0)) > 1


@contextmanager
def _started(source: Callable[[], Iterator[Row]]) -> Iterator[Connection]:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with suppress(OSError):  # the user has many pipes
        fcntl.fcntl(sender.fileno(), fcntl.F_SETPIPE_SZ, _BUFFER_BYTES)
    process = context.Process(target=_send, args=(source, receiver, sender), daemon=True)
    process.start()
    sender.close()
    try:
        yield receiver
    finally:
        receiver.close()
        process.terminate()
        process.join()


def _send(source: Callable[[], Iterator[Row]], receiver: Connection, sender: Connection) -> None:
    """Send lists of rows, the last of which is empty, or an exception."""
    _end_with_parent()
    receiver.close()
    with suppress(BrokenPipeError):  # the reader has ended
        try:
            rows = map(tuple, source())
            while True:
                some = list(islice(rows, _AT_ONCE))
                sender.send_bytes(marshal.dumps(some))
                if not some:
                    break
        except Exception as error:  # raised again by the reader
            sender.send_bytes(marshal.dumps(pickle.dumps(error)))


def _received(connection: Connection) -> list[Row]:
    try:
        received = marshal.loads(connection.recv_bytes())  # noqa: S302 (of a process of this command)
    except EOFError:
        raise _killed() from None
    if isinstance(received, bytes):
        raise pickle.loads(received)  # noqa: S301 (of a process of this command)
    rows: list[Row] = received
    return rows


def _killed() -> UserError:
    return UserError(
        "A worker process was killed", "Check that enough memory is free, and try again", exit_code=1
    )


def _end_with_parent() -> None:
    """End this process with the one that started it, even if that one is killed. Only the other one reports
    Ctrl-C, which reaches both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 (only forked processes call it)
    parent.join()
    os._exit(1)
