"""The entry point of assembled images: `python3 -I -m runtime lambda` on AWS Lambda, `… batch` in AWS Batch.

The assembler makes it the image's ENTRYPOINT. The CMD, or the command of the job definition, selects one.
"""

from __future__ import annotations

import ctypes
import os
import sys

from runtime.assembled import FUNCTION_DIR

_PR_SET_DUMPABLE = 4
_HANDLER = "runtime.handler.handle"
_USAGE = 2


def main(arguments: list[str]) -> int:
    """Serve Lambda's invocations until the environment ends, or run one Batch job; return the exit code."""
    os.environ.setdefault("SCAR_FUNCTION_DIR", FUNCTION_DIR)
    # The user's script has the same user id: it must not read our memory, nor write to our standard output
    # through /proc/PID, where it could forge the runner's lines in the log.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    match arguments:
        case ["lambda"]:
            return _serve_lambda()
        case ["batch"]:
            from runtime import batch_job

            return batch_job.main()
        case _:
            print("usage: python3 -m runtime lambda | batch", file=sys.stderr)
            return _USAGE


def _serve_lambda() -> int:
    address = os.environ.get("AWS_LAMBDA_RUNTIME_API")
    if not address:
        print(
            "AWS_LAMBDA_RUNTIME_API is not set: this image runs only as an AWS Lambda function or, "
            "with the command 'batch', as an AWS Batch job",
            file=sys.stderr,
        )
        return _USAGE
    from awslambdaric import bootstrap
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    bootstrap.run(_HANDLER, LambdaRuntimeClient(address, False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
