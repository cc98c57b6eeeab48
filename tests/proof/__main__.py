"""Deploy every example, run real files through it, check the results, and remove it all."""

from __future__ import annotations

import argparse
import os
import platform
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from fdl_schemas.load import load_workflow
from local_cloud.cloud import Cloud
from scar_cli.aws.session import client
from scar_cli.errors import UserError
from tests import examples
from tests.proof import neighbours
from tests.proof.cases import CASES, Case
from tests.proof.costs import at_most
from tests.proof.evidence import FAILED, INTERRUPTED, LEFT_OUT, PASSED, Evidence, Row, one_line
from tests.proof.place import Place
from tests.proof.stacks import deploy, remove

REPORT = examples.REPOSITORY / "build" / "proof"
_ON_AWS_S = 900.0
"""How long results may take on AWS: a Fargate task alone needs a minute or two to start."""
_LOCALLY_S = 600.0
_INTERRUPTED = 130
_BOOTSTRAPPED = "/cdk-bootstrap/hnb659fds/version"
"""The parameter that `cdk bootstrap` leaves."""
_OVERRIDING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL")


@dataclass(frozen=True)
class Account:
    """Where the proof runs."""

    place: Place
    title: str
    folder: Path
    """For copies of the examples."""
    environment: Mapping[str, str]
    """Of `scar init`."""

    @property
    def is_local(self) -> bool:
        """Whether it is an embedded cloud."""
        return self.place.local_endpoint is not None

    def options(self, example: str) -> list[str]:
        """More options of `scar init`: tests and embedded clouds have no network."""
        if not self.is_local:
            return []
        mirror = neighbours.video_images() if example == "video-process" else neighbours.images(self.folder)
        return ["-c", f"registry_mirrors=docker.io={mirror}"]


def main() -> int:
    """Ask, run all, report; exit code 1 if anything failed or is left, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make prove-on-aws", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--local", action="store_true", help="on an embedded cloud that is started for this")
    parser.add_argument("--only", metavar="A,B", help="these examples [default: all]")
    parser.add_argument(
        "--report", type=Path, default=REPORT, help="folder of the report [default: build/proof]"
    )
    options = parser.parse_args()
    chosen = CASES
    if options.only:
        wanted = options.only.split(",")
        chosen = [case for case in CASES if case.example in wanted]
        if unknown := set(wanted) - {case.example for case in chosen}:
            parser.error(f"unknown example: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with on_embedded_cloud() if options.local else on_aws() as account:
            if not options.yes and not options.local and not agreed(account, chosen):
                print("Nothing was done.")
                return 1
            return prove(account, chosen, options.report)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED


def prove(account: Account, cases: Sequence[Case], report: Path) -> int:
    """Run the cases one after the other and write the evidence; the exit code.

    Ctrl-C ends it after the example under way is removed.
    """
    report.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    evidence = Evidence(now, account.title, str(account.place.run), _versions())
    try:
        for case in cases:
            row = Row(case.example)
            evidence.rows.append(row)
            try:
                prove_one(account, case, row, report)
            finally:
                evidence.write(report)
                print(f"{row.example}: {row.outcome}{f' ({row.reason})' if row.reason else ''}", flush=True)
                for one in row.left:
                    print(f"  left, please delete it: {one}", flush=True)
    except KeyboardInterrupt:
        print(f"Interrupted. The evidence so far: {report / 'proof.md'}", flush=True)
        return _INTERRUPTED
    print(f"The evidence: {report / 'proof.md'} and {report / 'proof.json'}", flush=True)
    return 0 if evidence.is_good else 1


def prove_one(account: Account, case: Case, row: Row, report: Path) -> None:
    """Deploy an example, run it twice, remove it; what was seen goes into the row.

    Raises:
        KeyboardInterrupt: after what was deployed is removed.
    """
    if (reason := left_out(account, case)) is not None:
        row.outcome, row.reason = LEFT_OUT, reason
        return
    place = account.place
    place.sent_bytes, place.received_bytes, place.log_lines = 0, 0, []
    try:
        fdl = neighbours.copied(case.example, account.folder / "fdl", local=account.is_local)
        more = account.options(case.example)
        print(f"{case.example}: deploying", flush=True)
        log = report / f"{case.example}.log"
        with _timed(row, "deployed_s"):
            deploy(place, case.example, fdl, log=log, environment=account.environment, more=more)
        for tag in ("cold", "warm"):
            print(f"{case.example}: {tag} run", flush=True)
            with _timed(row, f"{tag}_s"):
                case.run(place, tag)
        row.outcome = PASSED
        row.cost_usd = at_most(load_workflow(fdl), case.invocations, max(row.cold_s or 0, row.warm_s or 0))
    except KeyboardInterrupt:
        row.outcome, row.reason = INTERRUPTED, "interrupted by the user"
        print(
            "Removing what was deployed. To stop at once and leave it there, press Ctrl-C again.", flush=True
        )
        raise
    except Exception as error:  # whatever it is, the next example is tried
        row.outcome, row.reason = FAILED, f"{type(error).__name__}: {one_line(error)}"
    finally:
        row.sent_bytes, row.received_bytes = place.sent_bytes, place.received_bytes
        row.log_lines = list(place.log_lines)
        row.left = [f"stack {place.stack(case.example)} (not removed)"]  # until it is
        try:
            with _timed(row, "removed_s"):
                row.left = remove(place, case.example)
        except (ClientError, BotoCoreError) as error:
            row.left = [f"stack {place.stack(case.example)}: {one_line(error)}"]


def left_out(account: Account, case: Case) -> str | None:
    """Why an example cannot be proved here; None: it can."""
    if case.example == "image-file" and not examples.busybox_layers():
        return "a static busybox is missing (Debian: apt install busybox-static)"
    return None if account.is_local else case.left_out_on_aws


def agreed(account: Account, cases: Sequence[Case]) -> bool:
    """Say what would happen and what it may cost, and ask."""
    total = 0.0
    print(f"This deploys examples to {account.title}, one after the other, and removes each again:")
    for case in cases:
        if (reason := left_out(account, case)) is not None:
            print(f"  {case.example:20} skipped: {reason}")
            continue
        fdl = neighbours.copied(case.example, account.folder / "estimated", local=account.is_local)
        cost = at_most(load_workflow(fdl), case.invocations)
        total += cost
        print(f"  {case.example:20} at most USD {cost:.2f}")
    print(f"Estimated cost: at most USD {total:.2f}. All names end with {account.place.run}.")
    if not sys.stdin.isatty():
        raise UserError(
            "Cannot prompt: standard input is not a terminal", "Use --yes to skip the confirmation"
        )
    return input("Go ahead? [y/N] ").strip().lower() in ("y", "yes")


@contextmanager
def on_aws() -> Iterator[Account]:
    """The account and region of the environment's credentials.

    Raises:
        UserError: credentials, a region or the CDK bootstrap are missing, or another endpoint is set.
    """
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        raise UserError(
            f"AWS_ENDPOINT_URL is set to {endpoint}, which is not AWS",
            "Unset it, or use --local (make prove-on-aws PROOF_ARGS=--local) for an embedded cloud",
        )
    identity = client("sts").get_caller_identity()
    region = client("s3").meta.region_name
    try:
        client("ssm").get_parameter(Name=_BOOTSTRAPPED)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise UserError(
                f"Cannot read {_BOOTSTRAPPED}: {one_line(error)}", "Use other credentials"
            ) from error
        raise UserError(
            f"{region} of this account is not bootstrapped for the CDK",
            f"Run: cdk bootstrap aws://{identity['Account']}/{region}",
        ) from error
    title = f"AWS account …{identity['Account'][-4:]}, {region}"
    with tempfile.TemporaryDirectory(prefix="scar-proof-") as name:
        place = Place(client, run=_new_run(), patience_s=_ON_AWS_S)
        yield Account(place, title, Path(name), dict(os.environ))


@contextmanager
def on_embedded_cloud() -> Iterator[Account]:
    """An embedded cloud for this run alone, with what the examples need beside it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scar-proof-")))
        for name in _OVERRIDING:
            os.environ.pop(name, None)
        os.environ["SCAR_STORE"] = str(folder / "store")
        cloud = Cloud(folder / "cloud")
        running = cloud.start(tied=True)
        stack.callback(cloud.stop)
        os.environ.update(running.environment())
        beside = stack.enter_context(
            neighbours.neighbours(running, client("secretsmanager"), folder / "neighbours")
        )
        yield embedded(client, running.endpoint, beside, folder)


def embedded(clients: Any, endpoint: str, beside: neighbours.Neighbours | None, folder: Path) -> Account:
    """The account of an embedded cloud that runs, and is named by the environment."""
    place = Place(clients, endpoint, _new_run(), _LOCALLY_S, beside)
    variables = beside.variables() if beside else {}
    environment = {**os.environ, "NO_COLOR": "1", **variables}
    return Account(place, f"the embedded cloud (ministack {version('ministack')})", folder, environment)


def _new_run() -> str:
    return f"p{secrets.token_hex(3)}"


def _versions() -> dict[str, str]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=examples.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    found = {"scar-cdk": version("scar-cdk"), "commit": commit, "aws-cdk-lib": version("aws-cdk-lib")}
    return {**found, "Python": platform.python_version(), "boto3": version("boto3")}


@contextmanager
def _timed(row: Row, name: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        setattr(row, name, round(time.monotonic() - started, 3))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
