"""Lambda's worker processes, kept on a leash.

ministack runs a function in a Python process that it writes a script for and talks to by pipes. It starts
them from threads that come and go and ends them by a signal to that one process, so neither its own death nor
a function's time-out would reach what the function has started. The text of `leash.py` in front of the script
makes each worker a keeper with the real worker as its child: the keeper ends everything when it gets SIGTERM
(ministack's time-out) or when its standard input hangs up.
"""

from __future__ import annotations

from pathlib import Path

from ministack.core import lambda_runtime

_START = """
fork_keeper()
sys.stdin, sys.stdout = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
"""


def leash_workers() -> None:
    """Have ministack write our leash into each Python worker's script."""
    detect = lambda_runtime._detect_runtime_binary
    leash = Path(__file__).with_name("leash.py").read_text()

    def with_leash(runtime: str) -> tuple[str, str]:
        binary, script = detect(runtime)
        if runtime.startswith("python"):
            script = f"{leash}\n{_START}\n{script}"
        return binary, script

    lambda_runtime._detect_runtime_binary = with_leash
