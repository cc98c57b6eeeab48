"""What a deployment would change, for the person who has to agree to it.

The synthesized template is compared with the deployed one. Permissions are found wherever a policy document
is, so that an unknown kind of resource cannot hide one. Values of variables are never shown: they may be
secrets.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from scar_cli.aws.failure_queues import depth
from scar_cli.aws.session import client, explained
from scar_cli.deployment.cdk import SynthesizedStack
from scar_cli.deployment.losses import what_is_lost
from scar_cli.deployment.nested import flattened
from scar_cli.deployment.rights import rights_of
from scar_cli.deployment.template import Names
from scar_cli.errors import UserError
from scar_cli.table import counted, printable, table, takes_colours

SEE_PERMISSIONS = "see the permissions below"
"""Detail of a policy document that changes."""
FILES = "scar:files"
"""Metadata of a function: name and hash of its script, its extra payload and its settings."""
IMAGE = "Custom::ScarAssembledImage"
"""A function's image with its script and settings. The function itself does not change with it."""
_VALUE_LIMIT = 60
_DETAILS_LIMIT = 12
_FUNCTIONS = "Functions/"
_OTHER_FILES = "Code: other files"
_OF_AN_IMAGE = {
    "Package": "script, extra payload or settings: changed",
    "Archive": "image file: changed",
    "Runner": "runner: another version",
}
"""Properties of an assembled image whose values are hashes."""
VERBS = {"+": "new", "-": "removed", "~": "changed"}
"""For the sign of a change."""
_COLOURS = {"+": "green", "-": "red", "~": "yellow"}
_HASH = re.compile("[0-9a-f]{64}")
"""Name of a file that the cdk uploaded."""
_SECRETIVE = ("environment", "variables", "secret", "password", "token", "credential", "login")
"""Part of the name of a property whose value is not shown."""


@dataclass(frozen=True)
class Change:
    """A resource that is added (`+`), removed (`-`) or changed (`~`)."""

    sign: str
    kind: str
    """CloudFormation's, such as `AWS::S3::Bucket`."""
    name: str
    details: tuple[str, ...] = ()
    """Its changed properties and files."""
    lost: str | None = None
    """The data that the change destroys, as a sentence."""
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
    """`+` or `-`, and the permission as a sentence."""
    helpers: frozenset[str] = frozenset()
    """Names of all resources that scar-cdk adds by itself, changed or not."""

    def __bool__(self) -> bool:
        return bool(self.resources or self.rights)


def changes_of(stack: SynthesizedStack) -> Changes:
    """What deploying the stack would change.

    Raises:
        UserError: the deployed template cannot be read, or a function would move to another stack.
    """
    cloudformation = client("cloudformation", region=stack.region)
    ids = {"": stack.name}
    deployed = _deployed(cloudformation, stack.name, ids)
    if deployed is not None:
        _refuse_moves(deployed, stack)

    def messages(identity: str) -> int | None:
        nested, _slash, own = identity.rpartition("/")
        with suppress(UserError), explained():
            answer = cloudformation.describe_stack_resource(StackName=ids[nested], LogicalResourceId=own)
            url = str(answer["StackResourceDetail"]["PhysicalResourceId"])
            return depth(client("sqs", region=stack.region), url)
        return None

    region = cloudformation.meta.region_name
    return compare(stack.name, region, deployed, stack.template, messages=messages)


def compare(
    stack: str,
    region: str,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    *,
    messages: Callable[[str], int | None] = lambda _identity: None,
) -> Changes:
    """The difference of two templates.

    Args:
        stack: its name.
        region: where it is deployed.
        old: the deployed template; None: the stack does not exist yet.
        new: the template to deploy.
        messages: number of messages in the deployed queue with this logical id; None: unknown.
    """
    before, after = Names(old or {}), Names(new)
    known_files = _functions_with_files(before) & _functions_with_files(after)
    found = []
    for identity in [*after.resources, *(one for one in before.resources if one not in after.resources)]:
        was, will = before.resources.get(identity), after.resources.get(identity)
        if will is None and was is not None:
            lost, helper = what_is_lost(was, None, partial(messages, identity)), before.is_helper(identity)
            found.append(Change("-", str(was.get("Type")), before.of(identity), lost=lost, is_helper=helper))
        elif was is None and will is not None:
            helper = after.is_helper(identity)
            found.append(Change("+", str(will.get("Type")), after.of(identity), is_helper=helper))
        elif was is not None and will is not None:
            details = tuple(_differences(was, will, before, after, known_files))
            if details:
                lost = what_is_lost(was, will, partial(messages, identity))
                helper = after.is_helper(identity)
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
    """Print them; on a terminal in colours, with lines wrapped to its width."""
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
    """Their lines. Supporting resources are only counted."""
    if not changes:
        yield f"{changes.stack} in {changes.region}: no changes"
        return
    yield f"{changes.stack} in {changes.region} {'is new' if changes.is_new else 'changes'}"
    listed = [one for one in changes.resources if is_listed(one)]
    for line in table(("", "", ""), [(one.sign, word_for(one.kind), one.name) for one in _named(listed)]):
        yield from [f"  {line}"] if line else []
    for one in listed:
        if one.details:
            yield f"  ~  {word_for(one.kind)} {printable(one.name)}"
            yield from (f"       {printable(detail)}" for detail in one.details[:_DETAILS_LIMIT])
            if (more := len(one.details) - _DETAILS_LIMIT) > 0:
                yield f"       and {more} more"
    supporting = Counter(VERBS[one.sign] for one in changes.resources if not is_listed(one))
    if supporting:
        told = ", ".join(f"{number} {verb}" for verb, number in supporting.items())
        yield f"  Supporting resources: {told}"
    if lost := [one for one in changes.resources if one.lost and not one.is_helper]:
        yield "Destructive changes"
        yield from (f"  - {word_for(one.kind)} {printable(one.name)}: {one.lost}" for one in lost)
    rights = [right for right in changes.rights if not concerns_helpers(right[1], changes.helpers)]
    if changes.rights:
        yield "Permissions"
        # Those of the workflow's functions come first: a person has to look at them.
        for sign, text in sorted(rights, key=lambda right: not right[1].startswith(_FUNCTIONS)):
            yield f"  {sign} {abbreviated(printable(text))}"
        if more := len(changes.rights) - len(rights):
            yield f"  {counted(more, 'change')} to permissions of supporting resources"


def is_listed(one: Change) -> bool:
    """Whether a change is shown by name, as one to a resource that the FDL file describes."""
    return not one.is_helper and (one.kind in KNOWN or (one.kind == IMAGE and one.sign == "~"))


def concerns_helpers(text: str, helpers: Set[str]) -> bool:
    """Whether a permission concerns supporting resources only. One that everybody has never does."""
    who, _may, what = re.split(" (may not|may|has|lets) ", text, maxsplit=1)
    if who.startswith(("the service ", "nobody")):
        who = what.rpartition(" on ")[2].partition(" if ")[0].partition(",")[0]
    return who in helpers


def as_json(changes: Changes) -> dict[str, Any]:
    """The changes for programs, with all supporting resources."""
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


def _deployed(cloudformation: Any, stack: str, ids: dict[str, str]) -> Mapping[str, Any] | None:
    """The deployed template with the resources of nested stacks; adds the ids of these to `ids`, by logical
    id."""

    def nested(identity: str, _resource: Mapping[str, Any]) -> Mapping[str, Any] | None:
        with explained("ValidationError"):  # its creation failed
            answer = cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId=identity)
            ids[identity] = str(answer["StackResourceDetail"]["PhysicalResourceId"])
            return _body(cloudformation, ids[identity])
        return None

    with explained("ValidationError"):  # the stack does not exist
        status = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        if status in ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "DELETE_COMPLETE"):
            return None  # the cdk deletes what a failed creation has left
        return flattened(_body(cloudformation, stack), nested)
    return None


def _body(cloudformation: Any, stack: str) -> Mapping[str, Any]:
    body = cloudformation.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    return body if isinstance(body, Mapping) else {}


def _refuse_moves(deployed: Mapping[str, Any], stack: SynthesizedStack) -> None:
    """CloudFormation creates a function in its new stack before it deletes the old one of the same name."""
    before, after = _stacks_of_functions(deployed), _stacks_of_functions(stack.template)
    moved = [name for name in after if name in before and before[name] != after[name]]
    if moved:
        raise UserError(
            f"{', '.join(moved[:_DETAILS_LIMIT])} would move to another stack inside {stack.name}, which "
            "CloudFormation cannot do",
            "Restore the file that ends in .stacks.json, beside the FDL file, from version control",
        )


def _stacks_of_functions(template: Mapping[str, Any]) -> Mapping[str, str]:
    """Logical id of the nested stack of each function, by the function's name."""
    return {
        str(name): identity.rpartition("/")[0]
        for identity, resource in (template.get("Resources") or {}).items()
        if resource.get("Type") == "AWS::Lambda::Function"
        and (name := (resource.get("Properties") or {}).get("FunctionName")) is not None
    }


def _differences(
    was: Mapping[str, Any], will: Mapping[str, Any], before: Names, after: Names, known_files: Set[str]
) -> Iterator[str]:
    """Details of a changed resource. Files of functions in `known_files` are named."""
    knows_files = _function_of(was) in known_files and _function_of(will) in known_files
    if knows_files:
        yield from _changed_files(was, will)
    for key in ("Type", "Properties", "DeletionPolicy"):
        for detail in _compared((key,), was.get(key), will.get(key), before, after):
            prop = detail.partition(":")[0] if will.get("Type") == IMAGE else ""
            if not (knows_files and (detail == _OTHER_FILES or prop == "Package")):
                yield _OF_AN_IMAGE.get(prop, detail)


def _changed_files(was: Mapping[str, Any], will: Mapping[str, Any]) -> Iterator[str]:
    """The user's files that changed."""
    before, after = (_files(one) for one in (was, will))
    for part in dict.fromkeys([*before, *after]):
        old, new = before.get(part), after.get(part)
        if old != new:
            verb = "added" if old is None else "removed" if new is None else "changed"
            yield f"{part} {(new or old or {}).get('name', '')}: {verb}"


def _files(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict((resource.get("Metadata") or {}).get(FILES) or {})


def _functions_with_files(names: Names) -> set[str]:
    """Functions whose files the template names."""
    return {_function_of(one) for one in names.resources.values() if _files(one)}


def _function_of(resource: Mapping[str, Any]) -> str:
    """Name of the function that a resource is, or that an image is for."""
    return str((resource.get("Properties") or {}).get("FunctionName", ""))


def _compared(path: tuple[str, ...], was: Any, will: Any, before: Names, after: Names) -> Iterator[str]:
    if was == will:
        return
    if isinstance(was, Mapping) and isinstance(will, Mapping) and not (_is_call(was) or _is_call(will)):
        for key in dict.fromkeys([*was, *will]):
            yield from _compared((*path, str(key)), was.get(key), will.get(key), before, after)
        return
    label = ".".join(path[1:] if path[0] == "Properties" and len(path) > 1 else path)
    if any(word in part.lower() for part in path for word in _SECRETIVE):
        verb = "is new" if was is None else "is removed" if will is None else "has another value"
        yield f"{label} {verb}"
    elif any(part in ("PolicyDocument", "AssumeRolePolicyDocument") for part in path):
        yield f"{label}: {SEE_PERMISSIONS}"
    elif path[-1] == "S3Key":
        yield _OTHER_FILES if label == "Code.S3Key" else f"{label.removesuffix('.S3Key')}: other files"
    else:
        yield f"{label}: {_value(before, was)} → {_value(after, will)}"


def _is_call(value: Mapping[str, Any]) -> bool:
    """Whether it is an intrinsic function of CloudFormation, such as Ref."""
    return len(value) == 1 and (next(iter(value)) == "Ref" or str(next(iter(value))).startswith("Fn::"))


def _value(names: Names, value: object) -> str:
    text = "none" if value is None else names.text(value)
    return text if len(text) <= _VALUE_LIMIT else f"{text[: _VALUE_LIMIT - 1]}…"


def _named(changes: Iterable[Change]) -> list[Change]:
    """What is added or removed and has a name that people know; removals first, as they may destroy data."""
    found = [one for one in changes if one.sign != "~" and one.kind in KNOWN]
    return sorted(found, key=lambda one: (one.sign != "-", KNOWN.index(one.kind), "/" in one.name))


def word_for(kind: str) -> str:
    """The usual name of a CloudFormation type."""
    if kind == IMAGE:
        return "image"
    if kind in _WORDS:
        return _WORDS[kind]
    spaced = re.sub("(?<=[a-z0-9])(?=[A-Z])", " ", kind.rpartition("::")[2])
    return " ".join(word if word.isupper() else word.lower() for word in spaced.split())


def abbreviated(text: str) -> str:
    """The text with short names of uploaded files."""
    return _HASH.sub(lambda found: f"{found[0][:8]}…", text)


_WORDS = {
    "AWS::Lambda::Function": "function",
    "AWS::S3::Bucket": "bucket",
    "AWS::SQS::Queue": "queue",
    "AWS::DynamoDB::Table": "table",
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
"""Types whose resources are listed by name."""
