"""What a deployment would change, in words for the person who has to agree to it.

The synthesized template is compared with the deployed one. Rights are found wherever a policy document is, so
that an unknown kind of resource cannot hide one. Values of variables are never shown, as they may be secrets.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click

from scar_cli.aws.session import client, explained
from scar_cli.deployment.cdk import SynthesizedStack
from scar_cli.deployment.losses import what_is_lost
from scar_cli.deployment.rights import rights_of
from scar_cli.deployment.template import Names
from scar_cli.table import printable, table, takes_colours

SEE_PERMISSIONS = "see the permissions below"
"""What is said of a policy document that changes."""
_VALUE_LIMIT = 60
_DETAILS_LIMIT = 12
_FUNCTIONS = "Functions/"
_COLOURS = {"+": "green", "-": "red", "~": "yellow"}
_HASH = re.compile("[0-9a-f]{64}")
"""Name of a file that the cdk has uploaded."""
_SECRETIVE = ("environment", "variables", "secret", "password", "token", "credential", "login")
"""What is in the name of a property whose value is not shown."""


@dataclass(frozen=True)
class Change:
    """A resource that comes (`+`), goes (`-`) or changes (`~`)."""

    sign: str
    kind: str
    """CloudFormation's, such as `AWS::S3::Bucket`."""
    name: str
    details: tuple[str, ...] = ()
    """What changes in it."""
    lost: str | None = None
    """What is lost by the change, as a sentence."""
    is_helper: bool = False
    """Whether scar-cdk added it, instead of the FDL file naming it."""


@dataclass(frozen=True)
class Changes:
    """Of one stack."""

    stack: str
    region: str
    is_new: bool
    resources: tuple[Change, ...]
    rights: tuple[tuple[str, str], ...]
    """`+` or `-`, and what it is that somebody may or may not."""
    helpers: frozenset[str] = frozenset()
    """Names of all resources that scar-cdk adds by itself, changed or not."""

    def __bool__(self) -> bool:
        return bool(self.resources or self.rights)


def changes_of(stack: SynthesizedStack) -> Changes:
    """What deploying the stack would change.

    Raises:
        UserError: AWS cannot be asked what is deployed.
    """
    cloudformation = client("cloudformation", region=stack.region)
    deployed = _deployed(cloudformation, stack.name)
    return compare(stack.name, cloudformation.meta.region_name, deployed, stack.template)


def compare(stack: str, region: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Changes:
    """The difference of two templates; `old` None: the stack is not there yet."""
    before, after = Names(old or {}), Names(new)
    found = []
    for identity in [*after.resources, *(one for one in before.resources if one not in after.resources)]:
        was, will = before.resources.get(identity), after.resources.get(identity)
        if will is None and was is not None:
            lost, helper = what_is_lost(was, None), before.is_helper(identity)
            found.append(Change("-", str(was.get("Type")), before.of(identity), lost=lost, is_helper=helper))
        elif was is None and will is not None:
            helper = after.is_helper(identity)
            found.append(Change("+", str(will.get("Type")), after.of(identity), is_helper=helper))
        elif was is not None and will is not None:
            details = tuple(_differences(was, will, before, after))
            if details:
                lost, helper = what_is_lost(was, will), after.is_helper(identity)
                found.append(Change("~", str(will.get("Type")), after.of(identity), details, lost, helper))
    had, has = dict.fromkeys(rights_of(before)), dict.fromkeys(rights_of(after))
    rights = [("+", text) for text in has if text not in had] + [
        ("-", text) for text in had if text not in has
    ]
    helpers = frozenset(
        names.of(one) for names in (before, after) for one in names.resources if names.is_helper(one)
    )
    return Changes(stack, region, old is None, tuple(found), tuple(rights), helpers)


def show(changes: Changes, *, err: bool = False) -> None:
    """Print them: for a terminal in colours, and in lines as long as it is wide."""
    stream = sys.stderr if err else sys.stdout
    colours = takes_colours(stream)
    columns = shutil.get_terminal_size().columns if stream.isatty() else None
    for line in shown(changes):
        sign = line.lstrip()[:1]
        words = (
            [line]
            if columns is None
            else textwrap.wrap(line, columns, subsequent_indent=" " * 6, break_on_hyphens=False)
        )
        text = "\n".join(words or [""])
        colour = _COLOURS.get(sign) if line.startswith("  ") else None
        if colours:
            text = text.replace(sign, click.style(sign, fg=colour, bold=True), 1) if colour else text
            text = text if line.startswith(" ") else click.style(text, bold=True)
        click.echo(text, err=err, color=colours)


def shown(changes: Changes) -> Iterator[str]:
    """The lines of it."""
    if not changes:
        yield f"{changes.stack} in {changes.region}: no changes"
        return
    yield f"{changes.stack} in {changes.region} {'is new' if changes.is_new else 'changes'}"
    for line in table(("", "", ""), [(one.sign, word_for(one.kind), one.name) for one in _named(changes)]):
        yield from [f"  {line}"] if line else []
    for sign, kinds in _others(changes).items():
        told = ", ".join(
            f"{number} {_plural(kind) if number > 1 else kind}" for kind, number in kinds.items()
        )
        yield f"  {sign}  with them: {told}"
    for one in changes.resources:
        if one.details:
            yield f"  ~  {word_for(one.kind)} {printable(one.name)}"
            yield from (f"       {printable(detail)}" for detail in one.details[:_DETAILS_LIMIT])
            if (more := len(one.details) - _DETAILS_LIMIT) > 0:
                yield f"       and {more} more"
    if changes.rights:
        yield "Permissions"
        # What the functions of the workflow may is what a person has to look at.
        for sign, text in sorted(changes.rights, key=lambda right: not right[1].startswith(_FUNCTIONS)):
            yield f"  {sign} {abbreviated(printable(text))}"


def as_json(changes: Changes) -> dict[str, Any]:
    """The same for programs."""
    return {
        "Stack": changes.stack,
        "Region": changes.region,
        "New": changes.is_new,
        "Resources": [
            {"Change": one.sign, "Type": one.kind, "Name": one.name, "Details": list(one.details)}
            | ({"Lost": one.lost} if one.lost else {})
            for one in changes.resources
        ],
        "Permissions": [{"Change": sign, "Text": text} for sign, text in changes.rights],
    }


def _deployed(cloudformation: Any, stack: str) -> Mapping[str, Any] | None:
    with explained("ValidationError"):  # there is no such stack
        status = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        if status in ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "DELETE_COMPLETE"):
            return None  # the cdk takes away what a failed creation has left, and begins anew
        body = cloudformation.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
        return body if isinstance(body, Mapping) else {}
    return None


def _differences(
    was: Mapping[str, Any], will: Mapping[str, Any], before: Names, after: Names
) -> Iterator[str]:
    for key in ("Type", "Properties", "DeletionPolicy"):
        yield from _compared((key,), was.get(key), will.get(key), before, after)


def _compared(path: tuple[str, ...], was: Any, will: Any, before: Names, after: Names) -> Iterator[str]:
    if was == will:
        return
    if isinstance(was, Mapping) and isinstance(will, Mapping) and not (_is_call(was) or _is_call(will)):
        for key in dict.fromkeys([*was, *will]):
            yield from _compared((*path, str(key)), was.get(key), will.get(key), before, after)
        return
    label = ".".join(path[1:] if path[0] == "Properties" and len(path) > 1 else path)
    if any(word in part.lower() for part in path for word in _SECRETIVE):
        verb = "is new" if was is None else "goes" if will is None else "has another value"
        yield f"{label} {verb}"
    elif any(part in ("PolicyDocument", "AssumeRolePolicyDocument") for part in path):
        yield f"{label}: {SEE_PERMISSIONS}"
    elif path[-1] == "S3Key":
        yield f"{label.removesuffix('.S3Key')}: other files"
    else:
        yield f"{label}: {_value(before, was)} → {_value(after, will)}"


def _is_call(value: Mapping[str, Any]) -> bool:
    """Whether it is a function of CloudFormation's, such as Ref."""
    return len(value) == 1 and (next(iter(value)) == "Ref" or str(next(iter(value))).startswith("Fn::"))


def _value(names: Names, value: object) -> str:
    text = "none" if value is None else names.text(value)
    return text if len(text) <= _VALUE_LIMIT else f"{text[: _VALUE_LIMIT - 1]}…"


def _named(changes: Changes) -> list[Change]:
    """What comes or goes and bears a name that people know; what goes stands first, as that may hurt."""
    found = [one for one in changes.resources if one.sign != "~" and one.kind in KNOWN]
    return sorted(found, key=lambda one: (one.sign != "-", KNOWN.index(one.kind), "/" in one.name))


def _others(changes: Changes) -> dict[str, Counter[str]]:
    """How many of each other kind come or go."""
    found: dict[str, Counter[str]] = {}
    for one in changes.resources:
        if one.sign != "~" and one.kind not in KNOWN:
            found.setdefault(one.sign, Counter())[word_for(one.kind)] += 1
    return found


def word_for(kind: str) -> str:
    """What people call a type of CloudFormation's."""
    if kind in _WORDS:
        return _WORDS[kind]
    spaced = re.sub("(?<=[a-z0-9])(?=[A-Z])", " ", kind.rpartition("::")[2])
    return " ".join(word if word.isupper() else word.lower() for word in spaced.split())


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return word if word.endswith("s") else f"{word}s"


def abbreviated(text: str) -> str:
    """The text with short names of uploaded files."""
    return _HASH.sub(lambda found: f"{found[0][:8]}…", text)


_WORDS = {
    "AWS::Lambda::Function": "function",
    "AWS::S3::Bucket": "bucket",
    "AWS::SQS::Queue": "queue",
    "AWS::Batch::JobQueue": "job queue",
    "AWS::Batch::JobDefinition": "job definition",
    "AWS::Batch::ComputeEnvironment": "compute environment",
    "AWS::ApiGateway::RestApi": "HTTP endpoint",
    "AWS::SecretsManager::Secret": "secret",
    "AWS::StepFunctions::StateMachine": "state machine",
    "AWS::EC2::VPC": "network",
    "AWS::KMS::Key": "key",
    "AWS::SNS::Topic": "topic",
}
KNOWN = tuple(_WORDS)
"""Types that people know by name."""
