"""`make mutants`: break the code a little, one fault at a time, and see whether the tests notice.

python -m tests.mutants [--only SUBJECT[:N,…]] [--jobs N] [--seconds N] [--json]
exit code 1: a mutant survived that its list does not accept; 2: an entry of a list does not fit the code
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import queue
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.mutants.mutant import ListError, Mutant, read, subjects
from tests.mutants.tree_copy import Outcome, TreeCopy

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).parent / "lists"


def main(arguments: list[str] | None = None, root: Path = ROOT, lists: Path = LISTS) -> int:
    """Parse the command line, and do what it says."""
    known = subjects(lists)
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description="Break the code, and see whether the tests notice."
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="SUBJECT[:N,…]",
        help=f"a subject, or some of its mutants by number; subjects are {', '.join(known)} [all]",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at once [cores]")
    parser.add_argument("--seconds", type=float, default=300.0, help="time limit of each mutant [300]")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    given = parser.parse_args(arguments)
    chosen = dict(_chosen(one) for one in given.only or known)
    if unknown := sorted(chosen.keys() - set(known)):
        parser.error(f"unknown subject {unknown[0]}; there are {', '.join(known)}")
    try:
        mutants = [
            mutant
            for subject, numbers in chosen.items()
            for mutant in read(lists, subject, root)
            if not numbers or mutant.number in numbers
        ]
        if not mutants:
            raise ListError("no mutant has such a number")  # noqa: TRY301 (one way out)
        began = time.monotonic()
        with _alone(root / "build" / "mutants") as folder:
            outcomes = _judge_all(mutants, root, folder, min(given.jobs, len(mutants)), given.seconds)
    except ListError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps(_as_json(outcomes)))
    else:
        _report(outcomes, time.monotonic() - began)
    return 1 if any(_is_bad(mutant, outcome) for mutant, outcome in outcomes.items()) else 0


def _chosen(text: str) -> tuple[str, set[int]]:
    """A subject, and the numbers of its mutants; none for all of them."""
    subject, _, numbers = text.partition(":")
    return subject, {int(number) for number in numbers.split(",") if number.isdecimal()}


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """The folder of the copies, which no other run may use meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ListError(f"another run uses {folder}: wait for its end") from None
        yield folder


def _judge_all(
    mutants: list[Mutant], root: Path, folder: Path, jobs: int, seconds: float
) -> dict[Mutant, Outcome]:
    print(f"{len(mutants)} mutants, {jobs} at once", file=sys.stderr, flush=True)
    free: queue.Queue[TreeCopy] = queue.Queue()
    for number in range(jobs):
        copy = TreeCopy(root, folder / str(number), seconds)
        if foreign := copy.foreign_packages():
            raise ListError(f"imported from elsewhere than the copy: {', '.join(foreign)}")
        free.put(copy)
    # The test that noticed a mutant the last time runs first: most runs are over with it.
    memory = folder / "noticed.json"
    noticed: dict[str, list[str]] = json.loads(memory.read_text()) if memory.exists() else {}

    def judge(mutant: Mutant) -> tuple[Mutant, Outcome, float]:
        copy, began = free.get(), time.monotonic()
        try:
            outcome = copy.judge(mutant, noticed.get(f"{mutant.subject}: {mutant.what}", ()))
        finally:
            free.put(copy)
        return mutant, outcome, time.monotonic() - began

    outcomes: dict[Mutant, Outcome] = {}
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(judge, mutant) for mutant in mutants]
        try:
            for done, future in enumerate(as_completed(running), start=1):
                mutant, outcome, took = future.result()
                outcomes[mutant] = outcome
                if outcome.noticed_by:
                    noticed[f"{mutant.subject}: {mutant.what}"] = list(outcome.noticed_by)
                progress = f"[{done}/{len(mutants)}] {outcome.verdict:8} {took:5.1f} s  {mutant.name}"
                print(f"{progress}: {mutant.what}", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            memory.write_text(json.dumps(noticed, indent=1))
    for test in sorted(set[str]().union(*(free.get().broken for _ in range(jobs)))):
        print(f"left out, as it fails without a mutant, too: {test}", file=sys.stderr)
    return {mutant: outcomes[mutant] for mutant in mutants}


def _is_bad(mutant: Mutant, outcome: Outcome) -> bool:
    return outcome.verdict != "caught" and mutant.accepted is None


def _report(outcomes: dict[Mutant, Outcome], seconds: float) -> None:
    for mutant, outcome in outcomes.items():
        if outcome.verdict != "caught":
            print(f"{outcome.verdict}: {mutant.name}: {mutant.what}\n  {mutant.file}")
            if outcome.problem:
                print("  " + outcome.problem.strip().replace("\n", "\n  "))
            print(
                f"  accepted: {mutant.accepted}" if mutant.accepted else f"  tests: {' '.join(mutant.tests)}"
            )
        elif mutant.accepted:
            print(f"caught: {mutant.name}: {mutant.what}\n  the list accepts it: remove `accepted`")
    for subject in dict.fromkeys(mutant.subject for mutant in outcomes):
        verdicts = [outcome.verdict for mutant, outcome in outcomes.items() if mutant.subject == subject]
        print(f"{subject:12} {verdicts.count('caught'):3} of {len(verdicts):3} caught")
    caught = sum(outcome.verdict == "caught" for outcome in outcomes.values())
    share = 100 * caught / len(outcomes)
    print(f"{caught} of {len(outcomes)} mutants caught ({share:.0f}%) in {seconds:.0f} s")


def _as_json(outcomes: dict[Mutant, Outcome]) -> dict[str, Any]:
    return {
        "caught": sum(outcome.verdict == "caught" for outcome in outcomes.values()),
        "mutants": [
            {
                "subject": mutant.subject,
                "number": mutant.number,
                "what": mutant.what,
                "file": mutant.file,
                "verdict": outcome.verdict,
                "noticed_by": outcome.noticed_by,
                "problem": outcome.problem,
                "accepted": mutant.accepted,
            }
            for mutant, outcome in outcomes.items()
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
