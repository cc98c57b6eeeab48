"""`make fuzz`: all targets, each in a process of its own, for as long as is asked for.

python -m tests.fuzz [--seconds 600] [--seed N] [TARGET ...]   exit code 1: there are findings
python -m tests.fuzz build/fuzz/TARGET-….json                  run the case of a finding again
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.campaign import ROOT, Campaign, Finding, judged, opened
from tests.fuzz.target import decode, encode
from tests.fuzz.targets import TARGETS

FOLDER = ROOT / "build" / "fuzz"
_DEATHS = 5
"""So many ends of a target's process, and it is not started again."""


def main() -> int:
    """Parse the command line, and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz what strangers can send.")
    parser.add_argument("what", nargs="*", help="targets, or the file of one finding [default: all targets]")
    parser.add_argument("--seconds", type=float, default=600.0, help="for all targets together [600]")
    parser.add_argument("--cases", type=int, default=sys.maxsize, help="of each target, at most")
    parser.add_argument("--seed", type=int, help="draw the same cases again [random]")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for findings [build/fuzz]")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if len(given.what) == 1 and given.what[0].endswith(".json"):
        return replay(Path(given.what[0]))
    if unknown := [name for name in given.what if name not in TARGETS]:
        parser.error(f"unknown target {unknown[0]}; there are {', '.join(TARGETS)}")
    first_seed = secrets.randbelow(1 << 32) if given.seed is None else given.seed
    if given.one:
        return _one(given.what[0], given.seconds, given.cases, first_seed, given.folder)
    return _all(given.what or list(TARGETS), given.seconds, given.cases, first_seed, given.folder)


def replay(file: Path) -> int:
    """Run the case of a finding again."""
    saved = decode(file.read_text())
    target = TARGETS[saved["target"]]
    with opened(target) as check:
        finding = judged(target, check, encode(saved["case"]))
    print(finding.told if finding else "the case breaks nothing (any more)")
    return 1 if finding else 0


def _all(names: list[str], seconds: float, cases: int, first_seed: int, folder: Path) -> int:
    print(f"seed {first_seed}; {seconds:g} s for {len(names)} targets; findings go to {folder}", flush=True)
    at_once = min(len(names), os.cpu_count() or 1)
    each = seconds * at_once / len(names)
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        started = [pool.submit(_supervise, name, each, cases, first_seed, folder) for name in names]
        total = sum(future.result() for future in started)
    print(f"{total} finding{'' if total == 1 else 's'}; seed {first_seed}")
    return 1 if total else 0


def _supervise(name: str, seconds: float, cases: int, first_seed: int, folder: Path) -> int:
    """Run one target in processes of its own: one that dies is a finding too."""
    began = time.monotonic()
    done, found, deaths = 0, dict[str, Finding](), 0
    current = folder / f"{name}.current"
    folder.mkdir(parents=True, exist_ok=True)
    while (left := began + seconds - time.monotonic()) > 0 and deaths < _DEATHS and done < cases:
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--folder", str(folder)]
        command += ["--seconds", str(left), "--cases", str(cases - done), "--seed", str(first_seed + deaths)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        try:
            answer = json.loads(ended.stdout.rpartition("\n")[2])
        except ValueError:
            deaths += 1
            case = current.read_text() if current.exists() else "null"
            what = f"the process died or hung (exit code {ended.returncode}), {deaths}"
            found[what] = Finding(name, what, case, ended.stderr[-20_000:])
            continue
        done += answer["cases"]
        found |= {told["what"]: Finding(**told) for told in answer["findings"]}
        break
    current.unlink(missing_ok=True)
    took = time.monotonic() - began
    lines = [f"{name:10} {done:8} cases {len(found):3} findings {done / took:8.1f} cases/s"]
    for finding in found.values():
        file = finding.save(folder)
        shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        lines.append(f"  {finding.what}\n    replay: .venv/bin/python -m tests.fuzz {shown}")
    print("\n".join(lines), flush=True)
    return len(found)


def _one(name: str, seconds: float, cases: int, first_seed: int, folder: Path) -> int:
    campaign = Campaign(TARGETS[name], first_seed, folder / f"{name}.current")
    answer_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the code under test prints is not the answer
    campaign.run(seconds=seconds, cases=cases)
    findings = [asdict(finding) for finding in campaign.findings.values()]
    answer_to.write("\n" + json.dumps({"cases": campaign.cases, "findings": findings}))
    answer_to.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
