"""Each test runs a process of its own: in this one, which has threads, nothing is forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from functools import partial

import pytest

from tests.cloud.embedded import has_ended, until

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="one processor: nothing is forked")
_HEAD = """
import os, signal, sys, time
from functools import partial
from scar_cli.errors import UserError
from scar_cli.processes import mapped, rows_of

def numbers(first, end):
    for number in range(first, end):
        yield (number, "text", None, 1.5, ("s3://bucket/a",))

def endless():
    os.write(1, b"%d\\n" % os.getpid())
    yield from numbers(0, 10**9)

def waiting(_item):
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(0.5)
"""


def _python(script: str) -> str:
    command = [sys.executable, "-c", _HEAD + textwrap.dedent(script)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_rows_of_several_sources_alternate() -> None:
    printed = _python(
        """
        sources = [(0, 2500), (5000, 8500), (0, 0)]
        rows = list(rows_of([partial(numbers, *source) for source in sources]))
        assert rows[0] == (0, "text", None, 1.5, ("s3://bucket/a",))
        found = [row[0] for row in rows]
        print(found[0], found[1000], found[2000], found[-1])
        print(sorted(found) == [*range(2500), *range(5000, 8500)])
        print([one for one in found if one < 5000] == [*range(2500)])
        """
    )
    assert printed == "0 5000 1000 8499\nTrue\nTrue\n"


def test_sources_run_in_other_processes() -> None:
    printed = _python(
        """
        def own():
            yield (os.getpid(),)
        first, second = rows_of([own, own])
        print(len({first, second, (os.getpid(),)}))
        """
    )
    assert printed == "3\n"


def test_an_error_of_a_source_is_raised() -> None:
    printed = _python(
        """
        def failing():
            yield from numbers(0, 1500)
            raise UserError("AWS is down", "Wait", exit_code=3)
        count = 0
        try:
            for row in rows_of([failing]):
                count += 1
        except UserError as error:
            print(count >= 1000, str(error), error.cause, error.advice, error.exit_code)
        """
    )
    assert printed == "True AWS is down. Wait. AWS is down Wait 3\n"


def test_a_killed_process_is_an_error() -> None:
    printed = _python(
        """
        def killed():
            yield from numbers(0, 1000)
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            list(rows_of([killed]))
        except UserError as error:
            print(error, error.exit_code)
        """
    )
    assert printed == "A worker process was killed. Check that enough memory is free, and try again. 1\n"


def test_mapped_results_are_in_order_and_items_are_not_taken_far_ahead() -> None:
    printed = _python(
        """
        taken = 0
        def items():
            global taken
            for number in range(100):
                taken += 1
                yield number, "x"
        def square(item):
            if item[0] == 0:
                time.sleep(0.2)
            return item[0] ** 2, os.getpid()
        results = mapped(square, items())
        first = next(results)
        print(first[0], taken < 20)
        rest = list(results)
        print([one for one, _pid in rest] == [number**2 for number in range(1, 100)])
        print(os.getpid() in {pid for _one, pid in [first, *rest]})
        """
    )
    assert printed == "0 True\nTrue\nFalse\n"


@pytest.mark.parametrize(
    ("error", "raised"),
    [('UserError("no", exit_code=1)', "UserError('no.') 1\n"), ("ValueError(3)", "ValueError(3) None\n")],
)
def test_an_error_of_a_mapped_function_is_raised(error: str, raised: str) -> None:
    printed = _python(
        f"""
        def failing(_item):
            raise {error}
        try:
            list(mapped(failing, [1]))
        except (UserError, ValueError) as error:
            print(repr(error), getattr(error, "exit_code", None))
        """
    )
    assert printed == raised


def test_a_killed_process_of_mapped_is_an_error() -> None:
    printed = _python(
        """
        def killed(_item):
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            list(mapped(killed, [1]))
        except UserError as error:
            print(error.exit_code)
        """
    )
    assert printed == "1\n"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize(
    "script",
    ["for row in rows_of([endless, endless]): pass", "for result in mapped(waiting, numbers(0, 10)): pass"],
)
def test_no_process_remains_after_the_command(script: str, how: signal.Signals) -> None:
    command = [sys.executable, "-c", _HEAD + script]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        others = [int(process.stdout.readline()) for _ in range(2)]
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does
        else:
            process.kill()
        process.wait(30)
        for pid in others:
            until(partial(has_ended, pid), within_s=10)
        assert process.stderr.read().count("Traceback") == (how == signal.SIGINT)


def test_no_process_remains_after_the_rows_that_are_needed() -> None:
    printed = _python(
        """
        def waiting_for_aws():
            yield from numbers(0, 1000)
            time.sleep(600)
        import multiprocessing
        for source in (endless, waiting_for_aws):
            rows = rows_of([source])
            next(rows)
            rows.close()
        print(multiprocessing.active_children())
        """
    )
    assert printed.endswith("\n[]\n")
