"""The plan of a launch: everything that is known before the first event is sent.

It is made from the command line, the FDL file and, if the launch is resumed, its journal. A resumed launch
must take the same files as before, so the journal contains most options.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fdl_schemas.graph import edges
from fdl_schemas.model import ExecutionMode, Function, StorageEntry, Workflow
from scar_cli.aws.deployed import one_selected, workflow_of
from scar_cli.aws.logs import moment_ms
from scar_cli.aws.session import LOOPBACK, botocore_session, client, explained
from scar_cli.errors import UserError
from scar_cli.launch.files import Selection, entries_of, sources_of
from scar_cli.launch.journal import head_of
from scar_cli.launch.pace import rate_of

CONCURRENCY = 32
_SUBMITTED_PER_S = 40.0
"""Jobs that Lambda submits one by one. Batch accepts 50 calls of SubmitJob a second in an account."""
_REMEMBERED = ("stage", "bucket_suffix", "bucket_path", "match", "newer_than", "skip_done", "limit")
"""Options that select files: a resumed launch reads them from its journal."""
_HAS_TO_FIT = {
    "cloud": "another cloud (the embedded one, or AWS)",
    "region": "another region",
    "sources": "other folders",
    "inputs": "a function with other inputs",
    "arrays": "a function in another mode",
}


def in_digits(amount: float) -> str:
    """`0.00001234`, `20`: all digits, without an exponent."""
    return format(Decimal(repr(amount)).normalize(), "f")


@dataclass(frozen=True)
class LaunchOptions:
    """The options of the command line."""

    fdl: str | None = None
    name: str | None = None
    """Name of the function in the FDL file."""
    stage: str | None = None
    bucket_suffix: str | None = None
    bucket_path: str | None = None
    match: str | None = None
    newer_than: str | None = None
    skip_done: bool = False
    limit: int | None = None
    concurrency: int = CONCURRENCY
    rate: str | None = None
    max_cost: float | None = None
    """USD."""
    resume: str | None = None

    def completed(self, head: dict[str, Any]) -> LaunchOptions:
        """The options with those of a journal in place of options that were not given.

        Raises:
            UserError: an option differs from that of the journal.
        """
        try:
            str(head["launch"]), int(head["since_ms"]), int(head["newer_than_ms"] or 0)
            remembered = {name: head["options"][name] for name in _REMEMBERED}
            remembered["name"] = head["function"]
            fdl = self.fdl or head["fdl"]
        except (KeyError, TypeError, ValueError):
            raise UserError(f"The journal {self.resume} cannot be read", "Start a new launch") from None
        for name, value in remembered.items():
            typed = getattr(self, name)
            if typed not in (None, False, value):
                option = option_of(name)
                raise UserError(
                    f"The launch of the journal {self.resume} was started {_with(option, value)}, not "
                    f"{_with(option, typed)}",
                    "Omit that option, or start a new launch without --resume",
                )
        return replace(self, fdl=fdl, **remembered)


def option_of(name: str) -> str:
    """The option of the command line for a field."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class Plan:
    """A launch of one function, before anything is sent."""

    options: LaunchOptions
    function: Function
    """With the names of its stage."""
    selection: Selection
    outputs: tuple[StorageEntry, ...]
    """The outputs of the function on S3, with the real names of the buckets."""
    rate: float | None
    """Events per second, at most; None: as many as Lambda accepts."""
    region: str
    cloud: str
    """`aws` or `embedded`."""
    journal: Path
    """Path of the journal; a new launch creates it before its first event."""
    s3: Any = field(repr=False, compare=False)

    @property
    def fdl(self) -> str:
        """Path of the FDL file."""
        return str(self.options.fdl)

    @property
    def resumes(self) -> bool:
        """Whether it resumes an earlier launch."""
        return self.options.resume is not None

    @property
    def is_batch(self) -> bool:
        """Whether each event becomes a job of AWS Batch."""
        return self.function.execution_mode == ExecutionMode.BATCH

    @property
    def in_arrays(self) -> bool:
        """Whether the events are submitted to Batch as array jobs: not for jobs on several nodes."""
        batch = self.function.batch
        return self.is_batch and batch is not None and batch.multi_node is None

    @property
    def resume_command(self) -> str:
        """The command that resumes the launch after an interruption."""
        words = ["scar-launch", "--resume", str(self.journal)]
        if self.options.concurrency != CONCURRENCY:
            words += ["--concurrency", str(self.options.concurrency)]
        if self.options.rate is not None:
            words += ["--rate", self.options.rate]
        if self.options.max_cost is not None:
            words += ["--max-cost", in_digits(self.options.max_cost)]
        return shlex.join(words)

    def described(self) -> dict[str, Any]:
        """The content of the head of a new journal."""
        return {
            "function": self.options.name,
            "region": self.region,
            "cloud": self.cloud,
            "fdl": str(Path(self.fdl).absolute()),
            "arrays": self.in_arrays or None,
            "options": {name: getattr(self.options, name) for name in _REMEMBERED},
            **self.selection.described(),
        }


def plan_launch(options: LaunchOptions) -> Plan:
    """
    Raises:
        UserError: the options, the journal or the credentials are invalid.
        click.exceptions.Exit: the FDL file has errors, which were printed.
    """
    head = None
    if options.resume is not None:
        head = head_of(Path(options.resume).absolute())
        options = options.completed(head)
    rate = rate_of(options.rate)
    function = choose(workflow_of(str(options.fdl)), options.name)
    options = replace(options, name=function.name)
    if options.stage is not None:
        options, function = _in_stage(options, function)
    suffix = options.bucket_suffix if options.stage is None else None  # the names have it already
    entries, since = entries_of(function.inputs, suffix), options.newer_than
    selection = Selection(
        sources_of(entries, options.bucket_path),
        entries,
        options.match,
        since,
        head["newer_than_ms"] if head is not None else moment_ms(since) if since is not None else None,
    )
    outputs = entries_of(function.outputs, suffix)
    if options.skip_done and not outputs:
        raise UserError(
            f"{function.name} has no output on S3: it is unknown which files are done",
            "Omit --skip-done",
        )
    s3 = _s3(function.region)
    plan = Plan(
        options=options,
        function=function,
        selection=selection,
        outputs=outputs,
        rate=rate,
        region=str(s3.meta.region_name),
        cloud="embedded" if urlsplit(s3.meta.endpoint_url).hostname in LOOPBACK else "aws",
        journal=_new_journal(function.name) if options.resume is None else Path(options.resume).absolute(),
        s3=s3,
    )
    if head is not None:
        _require_the_same(head, plan.described(), str(options.resume))
    if plan.is_batch and not plan.in_arrays:
        plan = replace(plan, rate=min(rate or _SUBMITTED_PER_S, _SUBMITTED_PER_S))
    return plan


def choose(workflow: Workflow, name: str | None) -> Function:
    """The function of that name, or the only one whose input no other function writes.

    Raises:
        UserError: no function fits, or several do.
    """
    readers = {
        function.name: function
        for function in workflow.functions
        if any(entry.provider == "s3" for entry in function.inputs)
    }
    if name is not None:
        if name in readers:
            return readers[name]
        known = any(function.name == name for function in workflow.functions)
        cause = (
            f"The function {name} has no input on S3" if known else f"There is no function {name} in the file"
        )
        raise UserError(cause, f"Functions that read from S3: {', '.join(readers) or 'none'}")
    fed = {target for _source, target in edges((*workflow.functions, *workflow.oscar_services))}
    heads = [function for function in readers.values() if function.name not in fed]
    if len(heads) == 1:
        return heads[0]
    if not heads:
        raise UserError(
            "No function in the file has an input on S3", "Give the function an input with a bucket"
        )
    names = ", ".join(head.name for head in heads)
    raise UserError(
        f"Several functions have inputs that no other function writes: {names}", "Choose one with -n"
    )


def _in_stage(options: LaunchOptions, function: Function) -> tuple[LaunchOptions, Function]:
    """Options and function with the names of the stage, as deployed: existing buckets keep their names.

    Raises:
        UserError: the function is not deployed in the stage, or has other inputs or outputs.
    """
    deployed = one_selected(options.fdl, options.name, stage=options.stage)
    names: dict[str, str] = {}

    def real(entries: Sequence[StorageEntry], paths: Sequence[str]) -> tuple[StorageEntry, ...]:
        if [str(entry).partition("/")[2] for entry in entries] != [path.partition("/")[2] for path in paths]:
            raise UserError(
                f"The inputs or outputs of {deployed.name} as deployed differ from those in {options.fdl}",
                f"Deploy the current file: scar init -f {options.fdl} --stage {options.stage}",
            )
        found = [
            replace(one, bucket=path.partition("/")[0]) for one, path in zip(entries, paths, strict=True)
        ]
        names.update({one.bucket: now.bucket for one, now in zip(entries, found, strict=True)})
        return tuple(found)

    function = replace(
        function,
        name=deployed.name,
        inputs=real(function.inputs, deployed.inputs),
        outputs=real(function.outputs, deployed.outputs),
    )
    if options.bucket_path is not None and options.resume is None:
        bucket, slash, folder = options.bucket_path.removeprefix("s3://").partition("/")
        options = replace(options, bucket_path=f"{names.get(bucket, bucket)}{slash}{folder}")
    return options, function


@contextmanager
def explained_end(how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """Add to an exception how to resume the launch: to a UserError as advice, to others as a note.

    `how_to_go_on` returns a sentence without its full stop, or an empty text.
    """
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        told = how_to_go_on()
        if isinstance(error, UserError) and told:
            advice = ". ".join(filter(None, (error.advice, told)))
            raise UserError(error.cause, advice, exit_code=1) from error
        if told:
            error.add_note(told)
        raise


def _s3(region: str | None) -> Any:
    from botocore.exceptions import NoRegionError

    region = region or botocore_session().get_config_variable("region")
    if region is None:  # S3 needs none, and would use us-east-1
        with explained():
            raise NoRegionError
    return client("s3", region=region, retries={"mode": "standard", "total_max_attempts": 4})


def _require_the_same(head: dict[str, Any], now: dict[str, Any], path: str) -> None:
    """
    Raises:
        UserError: the FDL file or the environment changed, so that other files would be sent.
    """
    for name, what in _HAS_TO_FIT.items():
        if head.get(name) != now[name]:
            raise UserError(
                f"{path} is the journal of a launch for {what}: {json.dumps(head.get(name))} instead of "
                f"{json.dumps(now[name])}",
                "Use the FDL file, the region and the credentials of that launch, or start a new one",
            )


def _new_journal(function: str) -> Path:
    """Path of a new journal, below the XDG state folder."""
    base = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"[:-3]
    return (base / "scar-cdk" / "launches" / f"{function}-{moment}Z.jsonl").absolute()


def _with(option: str, value: object) -> str:
    if value in (None, False):
        return f"without {option}"
    return f"with {option}" if value is True else f"with {option} {value}"
