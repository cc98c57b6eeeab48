"""Prepares an image and runs commands in it, in a process of its own: as another user, in a jail, under
another Python.

    python driver.py SOURCE LAYOUTS STORE [ENGINE] < commands

`SOURCE` is the folder that holds the package `runtime`. Commands are a JSON list of `{"argv": [...], ...}`;
the answer is JSON: `{"engine": name}` or `{"error": text}`, and a list of results with their output.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    source, layouts, store, *engine_name = sys.argv[1:]
    sys.path.insert(0, source)
    from containers.engines import ContainerProcess, choose_engine
    from containers.errors import ExplainedError
    from containers.store import ImageSource, prepare_image

    answers: list[dict[str, Any]] = []
    try:
        engine = choose_engine(Path(store), engine_name[0] if engine_name else None)
        for command in json.load(sys.stdin):
            output: list[bytes] = []
            folder = Path(store) / "run" / str(len(answers))
            folder.mkdir(parents=True)
            for name, (content, mode) in command.get("files", {}).items():
                (folder / name).write_text(content)
                (folder / name).chmod(mode)
            image = ImageSource.registry(command["image"])
            with prepare_image(image, store=Path(store), mirrors=f"docker.io=file://{layouts}") as root:
                result = engine.run(
                    ContainerProcess(
                        root=root,
                        argv=[word.replace("@", str(folder)) for word in command["argv"]],
                        env=command.get("env", {}),
                        working_dir=command.get("cwd", "/"),
                        user=command.get("user", ""),
                        binds={folder: str(folder)},
                        deadline=time.monotonic() + command["seconds"] if "seconds" in command else None,
                        on_output=output.append,
                        host_ports=list(map(tuple, command["host_ports"]))
                        if "host_ports" in command
                        else None,
                    )
                )
            answers.append(
                {
                    "exit": result.exit_code,
                    "signal": result.signal,
                    "timed_out": result.timed_out,
                    "network": result.network,
                    "output": b"".join(output).decode("utf-8", "replace"),
                    "files": {path.name: path.read_text() for path in folder.iterdir() if path.is_file()},
                }
            )
        print(json.dumps({"engine": engine.name, "results": answers, "uid": os.getuid()}))
    except ExplainedError as error:
        print(json.dumps({"error": str(error), "kind": error.kind}))


if __name__ == "__main__":
    main()
