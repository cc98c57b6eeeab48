"""What AWS Lambda does with a layer: put it on the path, call the handler once for each event.

    python -I -S packaged_runner.py LAYER EVENT...

Answers with a line of JSON, the last one: what the handler answered, and what it left behind.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


class Context:
    """Lambda's context object."""

    aws_request_id = "request"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def main() -> None:
    """Handle all events."""
    layer, *events = sys.argv[1:]
    version = "{}.{}".format(*sys.version_info[:2])
    sys.path[:0] = [f"{layer}/python", f"{layer}/python/lib/python{version}/site-packages"]
    from runtime.handler import handle

    told: list[dict[str, Any]] = []
    store = Path("/tmp/scar")
    for event in events:
        answer = handle(json.loads(event), Context())
        prepared = next(store.glob("images/*/fakechroot.json"), None)
        told.append({"answer": answer, "prepared_at": prepared.stat().st_mtime_ns if prepared else None})
    commands = [path.read_bytes().decode().split("\0") for path in Path("/proc").glob("[0-9]*/cmdline")]
    unpacker = sys.modules.get("isal.isal_zlib")
    print(
        json.dumps(
            {
                "runs": told,
                "user": os.getuid(),
                "processes": [command for command in commands if "sleep" in " ".join(command)],
                "run_folders": [path.name for path in (store / "run").iterdir() if path.is_dir()],
                "descriptors": len(list(Path("/proc/self/fd").iterdir())),
                "unpacker": getattr(unpacker, "__file__", None),
                "peak_kib": int(
                    Path("/proc/self/status").read_text().partition("VmHWM:")[2].split(maxsplit=1)[0]
                ),
            }
        )
    )


if __name__ == "__main__":
    main()
