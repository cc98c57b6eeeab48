"""The processes of a cloud.

They are started by the path of this folder, so that their environment stays clean of Python's settings.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

if sys.argv[1] == "supervise":
    from local_cloud.supervisor import main
elif sys.argv[1] == "contain":
    from local_cloud.containers.host import main
else:
    from local_cloud.emulator import main

main(sys.argv[2:])
