"""The processes of a cloud with faults: `python PROGRAM supervise …` and `python PROGRAM emulate …`.

Behind a proxy, the emulator listens on 127.0.0.2, at the port under which everybody knows the cloud: there,
on 127.0.0.1, is the proxy. So functions, jobs, queue URLs and signatures need no setting.
"""

import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[4])

if sys.argv[1] == "supervise":
    from local_cloud import supervisor

    supervisor.PROGRAM = Path(__file__).parent
    supervisor.main(sys.argv[2:])
else:
    from local_cloud import emulator
    from tests.faults.injected import clock, events

    clock.run_with_clock([sys.executable, *sys.argv])
    os.environ["BIND_HOST"] = os.environ.get("SCAR_TEST_ADDRESS", "127.0.0.1")
    events.double_and_reorder(emulator)
    emulator.main(sys.argv[2:])
