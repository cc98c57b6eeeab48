"""Known vulnerabilities of the locked dependencies, by pip-audit and npm audit: a part of `make check`.

Exit code 1: there are some that `vulnerabilities.txt` does not accept. A registry that does not answer
(there is no network, or a mirror has no advisories) is a line of output, not a failure: a check that needs
the internet must not stop work without it.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.node import bundled_node, npm_program

ROOT = Path(__file__).resolve().parents[1]
TOOLCHAIN = ROOT / "toolchain"
"""Where package-lock.json is."""
ACCEPTED = Path(__file__).with_suffix(".txt")
_REQUIREMENTS = (
    "requirements.txt",
    "requirements-dev.txt",
)  # requirements-runner.txt holds the same versions
_TIMEOUT_S = 5
"""For each network operation."""
_LONGEST_S = 120


class NoAnswer(Exception):  # noqa: N818 - nothing is wrong with the dependencies
    """The registry does not say what is known; the text says why."""


@dataclass(frozen=True)
class Vulnerability:
    """One that is known of a locked version."""

    package: str
    names: frozenset[str]
    """Its identifiers: PYSEC-…, GHSA-…, CVE-…."""
    told: str

    def __str__(self) -> str:
        return f"{self.package}: {', '.join(sorted(self.names))}: {self.told}"


def of_python(requirements: Sequence[Path], *more: str) -> list[Vulnerability]:
    """Those of pinned requirements; `more` are options of pip-audit. Raises NoAnswer."""
    found: dict[str, Vulnerability] = {}
    for file in requirements:
        _require_answer(file, more)
        for dependency in _pip_audit(file, more):
            for known in dependency.get("vulns", ()):
                names = frozenset([known["id"], *known["aliases"]])
                fixed = ", ".join(known["fix_versions"]) or "no version yet"
                told = f"fixed in {fixed}. {known['description'][:300]}"
                found[known["id"]] = Vulnerability(
                    f"{dependency['name']} {dependency['version']}", names, told
                )
    return list(found.values())


def _require_answer(file: Path, more: Sequence[str]) -> None:
    """Ask for one package before all the others: a mirror without advisories says 404 to each of them."""
    pins = [line for line in file.read_text().splitlines() if "==" in line]
    answered = _pip_audit(Path("/dev/stdin"), more, content=pins[0] + "\n")
    if all("skip_reason" in dependency for dependency in answered):
        raise NoAnswer("there are no advisories for packages of PyPI")


def _pip_audit(file: Path, more: Sequence[str], content: str | None = None) -> list[dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--disable-pip",
        "--no-deps",
        "--format",
        "json",
        "--aliases",
        "on",
    ]
    command += ["--desc", "on", "--progress-spinner", "off", "--timeout", str(_TIMEOUT_S)]
    command += ["--cache-dir", str(ROOT / "build" / "pip-audit"), "--requirement", str(file), *more]
    answer = _json_of(command, content)
    listed = answer.get("dependencies")
    if not isinstance(listed, list):
        raise NoAnswer("pip-audit gives no list")
    return listed


def of_npm(folder: Path, *more: str) -> list[Vulnerability]:
    """Those of `package-lock.json` in a folder; `more` are options of npm. Raises NoAnswer."""
    command = [
        str(bundled_node()),
        str(npm_program()),
        "audit",
        "--json",
        "--package-lock-only",
    ]
    command += [f"--fetch-timeout={_TIMEOUT_S * 1000}", "--fetch-retries=0", "--prefix", str(folder), *more]
    answer = _json_of(command)
    if "auditReportVersion" not in answer:
        raise NoAnswer(str(answer.get("message") or answer.get("error") or "npm gives no report")[:200])
    found: dict[str, Vulnerability] = {}
    for package, about in answer["vulnerabilities"].items():
        for via in about["via"]:
            if isinstance(via, dict):  # else a package that depends on the vulnerable one
                name = str(via["url"]).rpartition("/")[2]
                told = f"{via['severity']}, versions {via['range']}. {via['title']}"
                found[name] = Vulnerability(package, frozenset([name, str(via["source"])]), told)
    return list(found.values())


def _json_of(command: Sequence[str], content: str | None = None) -> Mapping[str, Any]:
    """What a program writes as JSON: both exit with 1 for a finding and for a failure alike."""
    try:
        ended = subprocess.run(
            command, input=content, capture_output=True, text=True, timeout=_LONGEST_S, check=False, cwd=ROOT
        )
        answer = json.loads(ended.stdout)
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"no answer within {_LONGEST_S} s") from None
    except OSError as error:
        raise NoAnswer(f"{command[0]} cannot be started: {error.strerror}") from None
    except ValueError:
        said = ended.stderr.strip().splitlines() or ["no output"]
        raise NoAnswer(said[-1][:200]) from None
    if not isinstance(answer, dict):
        raise NoAnswer("the answer is not a report")
    return answer


def accepted(text: str, today: datetime.date) -> dict[str, str]:
    """Identifier → reason of the lines `ID UNTIL REASON`; those whose day has passed do not count."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, until, reason = line.split(maxsplit=2)
            if datetime.date.fromisoformat(until) >= today:
                found[name] = reason
    return found


def rejected(found: Iterable[Vulnerability], known: Mapping[str, str]) -> list[Vulnerability]:
    """Those that nobody has accepted."""
    return [one for one in found if not one.names & set(known)]


def main() -> int:
    """Ask both registries, and say what they know."""
    known = accepted(ACCEPTED.read_text(), datetime.datetime.now(datetime.UTC).date())
    code = 0
    asks: dict[str, Callable[[], list[Vulnerability]]] = {
        "pip-audit": lambda: of_python([ROOT / name for name in _REQUIREMENTS]),
        "npm audit": lambda: of_npm(TOOLCHAIN),
    }
    for what, ask in asks.items():
        try:
            found = ask()
        except NoAnswer as reason:
            print(f"{what}: skipped: the registry does not answer audits ({reason})")
            continue
        bad = rejected(found, known)
        print(f"{what}: {len(bad)} known vulnerabilities, {len(found) - len(bad)} accepted")
        for one in bad:
            print(f"  {one}")
            code = 1
    if code:
        print(
            f"Update the package (`make lock`), or accept it for some time, with a reason, in {ACCEPTED.name}"
        )
    return code


if __name__ == "__main__":
    sys.exit(main())
