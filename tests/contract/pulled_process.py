"""The runner of a pulled image, as AWS Lambda calls it: one event a line, one answer a line.

    python -I -S pulled_process.py LAYER < events > answers

What the runner and the container write goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid

_TIME_S = 60.0


class Context:
    """Lambda's context object."""

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._until = time.monotonic() + _TIME_S

    def get_remaining_time_in_millis(self) -> int:
        return int((self._until - time.monotonic()) * 1000)


def main() -> None:
    """Answer until there are no more events."""
    layer = sys.argv[1]
    version = "{}.{}".format(*sys.version_info[:2])
    sys.path[:0] = [f"{layer}/python", f"{layer}/python/lib/python{version}/site-packages"]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from runtime.handler import handle

    for line in sys.stdin:
        try:
            answer: object = handle(json.loads(line), Context())
        except Exception as error:
            answer = {"errorType": type(error).__name__, "errorMessage": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
