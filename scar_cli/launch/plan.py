"""The plan of a launch: everything that is known before the first event is sent, as one value.

It comes from the command line, the FDL file and, if the launch goes on after an interruption, from its
journal. A launch that goes on has to take the same files as before, so most options are in the journal.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fdl_schemas.graph import edges
from fdl_schemas.model import Function, StorageEntry, Workflow
from scar_cli.aws.deployed import one_selected, workflow_of
from scar_cli.aws.logs import moment_ms
from scar_cli.aws.session import LOOPBACK, botocore_session, client, explained
from scar_cli.errors import UserError
from scar_cli.launch.files import Selection, entries_of, sources_of
from scar_cli.launch.journal import head_of
from scar_cli.launch.pace import rate_of

CONCURRENCY = 32
_REMEMBERED = ("stage", "bucket_suffix", "bucket_path", "match", "newer_than", "skip_done", "limit")
"""Options that say which files are taken: a launch that goes on has them from its journal."""
_HAS_TO_FIT = {
    "cloud": "another cloud (the embedded one, or AWS)",
    "region": "another region",
    "sources": "other folders",
    "inputs": "a function with other inputs",
}


@dataclass(frozen=True)
class LaunchOptions:
    """What was typed."""

    fdl: str | None = None
    name: str | None = None
    """Of the function in the FDL file."""
    stage: str | None = None
    bucket_suffix: str | None = None
    bucket_path: str | None = None
    match: str | None = None
    newer_than: str | None = None
    skip_done: bool = False
    limit: int | None = None
    concurrency: int = CONCURRENCY
    rate: str | None = None
    resume: str | None = None

    def completed(self, head: dict[str, Any]) -> LaunchOptions:
        """With what a journal remembers in place of what was not typed.

        Raises:
            UserError: what was typed is something else than what the journal remembers.
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
                    f"The journal {self.resume} is of a launch {_with(option, value)}, and not "
                    f"{_with(option, typed)}",
                    "Leave that option out, or start a new launch without --resume",
                )
        return replace(self, fdl=fdl, **remembered)


def option_of(name: str) -> str:
    """How an option is typed."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class Plan:
    """A launch of one function, of which nothing has been sent yet."""

    options: LaunchOptions
    function: Function
    """With the names of its stage."""
    selection: Selection
    outputs: tuple[StorageEntry, ...]
    """The function's outputs on S3, with the buckets' real names."""
    rate: float | None
    """Events a second, at most; None: as many as Lambda takes."""
    region: str
    cloud: str
    """`aws` or `embedded`."""
    journal: Path
    """Where the journal is, or where a new launch begins one with its first event."""
    session: Any = field(repr=False, compare=False)
    """botocore's, for clients of the same credentials."""
    s3: Any = field(repr=False, compare=False)

    @property
    def fdl(self) -> str:
        """Path of the FDL file."""
        return str(self.options.fdl)

    @property
    def resumes(self) -> bool:
        """Whether it goes on with the journal of an earlier launch."""
        return self.options.resume is not None

    @property
    def resume_command(self) -> str:
        """What to type to go on after an interruption."""
        words = ["scar-launch", "--resume", str(self.journal)]
        if self.options.concurrency != CONCURRENCY:
            words += ["--concurrency", str(self.options.concurrency)]
        if self.options.rate is not None:
            words += ["--rate", self.options.rate]
        return shlex.join(words)

    def described(self) -> dict[str, Any]:
        """What a new journal remembers of it."""
        return {
            "function": self.options.name,
            "region": self.region,
            "cloud": self.cloud,
            "fdl": str(Path(self.fdl).absolute()),
            "options": {name: getattr(self.options, name) for name in _REMEMBERED},
            **self.selection.described(),
        }


def plan_launch(options: LaunchOptions) -> Plan:
    """
    Raises:
        UserError: something is wrong with what was typed, with the journal, or with the credentials.
        click.exceptions.Exit: the FDL file has errors, which have been shown.
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
            f"{function.name} has no output on S3, so nobody knows which files are done",
            "Leave out --skip-done",
        )
    session = botocore_session()
    s3 = _s3(session, function.region)
    plan = Plan(
        options=options,
        function=function,
        selection=selection,
        outputs=outputs,
        rate=rate,
        region=str(s3.meta.region_name),
        cloud="embedded" if urlsplit(s3.meta.endpoint_url).hostname in LOOPBACK else "aws",
        journal=_new_journal(function.name) if options.resume is None else Path(options.resume).absolute(),
        session=session,
        s3=s3,
    )
    if head is not None:
        _require_the_same(head, plan.described(), str(options.resume))
    return plan


def choose(workflow: Workflow, name: str | None) -> Function:
    """The function that is named, or the only one whose input no other function writes.

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
    raise UserError(
        f"Several functions read files that nobody else writes: {', '.join(head.name for head in heads)}",
        "Say which one by -n",
    )


def _in_stage(options: LaunchOptions, function: Function) -> tuple[LaunchOptions, Function]:
    """The same with the names of the stage, as deployed: an existing bucket keeps its name in every stage.

    Raises:
        UserError: the function is not deployed in the stage, or with other inputs or outputs.
    """
    deployed = one_selected(options.fdl, options.name, stage=options.stage)
    names: dict[str, str] = {}

    def real(entries: Sequence[StorageEntry], paths: Sequence[str]) -> tuple[StorageEntry, ...]:
        if [str(entry).partition("/")[2] for entry in entries] != [path.partition("/")[2] for path in paths]:
            raise UserError(
                f"{deployed.name} is deployed with other inputs or outputs than {options.fdl} has",
                f"Deploy the file as it is now: scar init -f {options.fdl} --stage {options.stage}",
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
    """Add to whatever ends a launch early how to go on: to a UserError as advice, to others as a note.

    `how_to_go_on` gives a sentence without its full stop, or nothing.
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


def _s3(session: Any, region: str | None) -> Any:
    from botocore.exceptions import NoRegionError

    region = region or session.get_config_variable("region")
    if region is None:  # S3 needs none, and would say that it is us-east-1
        with explained():
            raise NoRegionError
    return client("s3", region=region, session=session, retries={"mode": "standard", "total_max_attempts": 4})


def _require_the_same(head: dict[str, Any], now: dict[str, Any], path: str) -> None:
    """
    Raises:
        UserError: the FDL file or the surroundings have changed so that other files would be sent.
    """
    for name, what in _HAS_TO_FIT.items():
        if head.get(name) != now[name]:
            raise UserError(
                f"{path} is the journal of a launch for {what}: {json.dumps(head.get(name))}, and now it is "
                f"{json.dumps(now[name])}",
                "Use the FDL file, the region and the credentials of that launch, or start a new one",
            )


def _new_journal(function: str) -> Path:
    """Where a new journal goes: below the XDG state folder."""
    base = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"[:-3]
    return (base / "scar-cdk" / "launches" / f"{function}-{moment}Z.jsonl").absolute()


def _with(option: str, value: object) -> str:
    if value in (None, False):
        return f"without {option}"
    return f"with {option}" if value is True else f"with {option} {value}"
