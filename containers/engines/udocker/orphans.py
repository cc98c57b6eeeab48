"""What a container leaves behind when it has killed its own supervisor.

Without a PID namespace a program runs as the user of its helper, and can kill or stop it. Its daemons would
then belong to nobody, and outlive the run. So this process asks the kernel for them, too.
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
    """At the end of the block, end what it has left below this process.

    Spared are children that were there before, helpers, and whatever shares this process' session: all that a
    helper starts is in another one, and no process can join a session of others.
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
