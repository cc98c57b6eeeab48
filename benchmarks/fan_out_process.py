"""Runs a command and records its cost: `python -I -S fan_out_process.py RESULT COMMAND …`.

RESULT gets a line of JSON: `seconds`, `cpu_s` (user and system, of the command and all that it started),
`peak_rss_mb` (of its largest process) and `status`.

The peak that Linux reports for a process includes the memory of its parent at the time of its start. So this
process runs between the benchmark and the command, and loads nothing.
"""

import os
import sys
import time


def main() -> None:
    """Run the command, with this process's standard input and output."""
    result, command = sys.argv[1], sys.argv[2:]
    started = time.monotonic()
    _, status, used = os.wait4(os.posix_spawnp(command[0], command, os.environ), 0)
    seconds = time.monotonic() - started
    with open(result, "w") as file:  # noqa: PTH123 (pathlib would be in memory)
        file.write(
            f'{{"seconds": {seconds:.3f}, "cpu_s": {used.ru_utime + used.ru_stime:.3f}, '
            f'"peak_rss_mb": {used.ru_maxrss / 1024:.1f}, "status": {os.waitstatus_to_exitcode(status)}}}\n'
        )


if __name__ == "__main__":
    main()
