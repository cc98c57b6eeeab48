"""Ends processes of a container that has killed its own supervisor.

Without a PID namespace a program runs as the user of its helper, and can kill or stop it. Its daemons would
then become orphans, and outlive the run. This process therefore adopts them, too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from containers.engines import helper_process
from containers.engines.helper.kernel import adopt_orphans
from containers.engines.helper.processes import descendants, end_descendants


@contextlib.contextmanager
def no_orphans() -> Iterator[None]:
    """At the end of the block, end the processes that it has left below this process.

    Earlier children, helpers, and processes in this process' session are not ended: everything that a helper
    starts is in another session, and no process can join the session of others.
    """
    adopt_orphans()
    before = set(descendants()[0])
    session = os.getsid(0)

    def is_spared(pid: int, its_session: int) -> bool:
        return pid in before or its_session == session or helper_process.is_helper(pid)

    try:
        yield
    finally:
        with helper_process.no_new_helpers():
            end_descendants(is_spared)
