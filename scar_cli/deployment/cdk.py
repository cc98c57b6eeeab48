"""The pinned CDK CLI as a process, and the stacks that it synthesizes.

A workflow is synthesized once into a folder. The plan and the deployment both use that folder.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from fdl_schemas.stages import staged
from scar_cli.aws.deployed import resources_of_stack, stacks, workflow_of
from scar_cli.aws.session import client, error_code, explained
from scar_cli.aws.transfers import ask_why
from scar_cli.deployment.nested import flattened
from scar_cli.errors import UserError
from scar_cli.progress import activity
from toolchain.cdk import cdk_command

_APP = f'"{sys.executable}" -m scar_constructs.app'
"""The app that the cdk runs, regardless of cdk.json in the working directory."""
_INTERRUPTED_S = 15
_ANOTHER_REGION = "301"
_NO_KEY = ("ServerSideEncryptionConfigurationNotFoundError", "NoSuchBucket", "404")
_DENIED = ("AccessDenied", "403")
_KEY_ARN = re.compile(r"arn:[^:]+:kms:[^:]+:[0-9]+:key/")
_TEMPLATE_FILE = "aws:asset:path"
_PROGRESS = re.compile(r"(?P<stack>\S+) \| +(?P<count>\d+/\d+) \|(?:[^|]*\|){3} (?P<name>\S+)")
"""A line such as `stack | 12/20 | 11:35:30 AM | CREATE_COMPLETE | AWS::S3::Bucket | path (id)`."""


@dataclass(frozen=True)
class SynthesizedStack:
    """A stack in a cloud assembly."""

    name: str
    region: str | None
    """None: the region of the session."""
    buckets: tuple[str, ...]
    """Names of the buckets that it creates."""
    template: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """With the resources of its nested stacks, see `nested.flattened`."""


@contextmanager
def synthesized(fdl: str, context: Mapping[str, str]) -> Iterator[tuple[Path, list[SynthesizedStack]]]:
    """The cloud assembly of an FDL file, and its stacks. Existing buckets are used instead of created.

    Raises:
        UserError: it cannot be synthesized, or a bucket is not available.
    """
    with tempfile.TemporaryDirectory(prefix="scar-cdk-") as name:
        folder = Path(name) / "cdk.out"
        given = {"fdl": str(Path(fdl).absolute()), **context}
        named = [bucket for bucket in context.get("existing_buckets", "").split(",") if bucket]
        with activity("Looking for existing buckets") as say:
            guessed = set(_guess(fdl, context, named))
            say(f"Synthesizing the stack of {Path(fdl).name}")
            _synthesize(given, named, guessed, folder)
            made = _stacks(folder)
            own = {bucket for stack in made for bucket in _owned(stack)}
            right = (guessed | set(existing_buckets(made, partial(_place, fdl, context)))) - own
            if right != guessed:
                folder = Path(name) / "cdk.out.2"
                _synthesize(given, named, right, folder)
        yield folder, _stacks(folder)


def existing_buckets(
    made: Sequence[SynthesizedStack], place: Callable[[str], str] = lambda _bucket: ""
) -> list[str]:
    """Buckets of the stacks that already exist outside these stacks.

    Args:
        made: the stacks.
        place: the beginning of a message about a bucket, such as `FILE:LINE:COLUMN: `.

    Raises:
        UserError: one belongs to someone else, or is in another region.
    """
    found = []
    for stack in made:
        if not stack.buckets:
            continue
        own = _owned(stack)
        s3 = client("s3", region=stack.region)
        found += [bucket for bucket in stack.buckets if bucket not in own and _is_there(s3, bucket, place)]
    return found


def cdk(*arguments: str, quiet: bool = False) -> int:
    """Run the CDK CLI; returns its exit code. `quiet`: write nothing to standard output.

    Raises:
        UserError: it is not installed.
    """
    with _started(arguments, stdout=sys.stderr if quiet else None) as process:
        return process.wait()


def deploy(folder: Path, *, verbose: bool, parameters: Sequence[str] = ()) -> int:
    """Deploy a cloud assembly with the CDK CLI; returns its exit code.

    `parameters` are `STACK:NAME=VALUE`; other parameters keep their values. On a terminal, one line shows the
    progress, unless `verbose`; the output of the cdk is shown if it fails.

    Raises:
        UserError: it is not installed.
    """
    arguments = (
        "deploy",
        "--app",
        str(folder),
        "--require-approval",
        "never",
        "--all",
        "--progress",
        "events",
        *(word for parameter in parameters for word in ("--parameters", parameter)),
    )
    if verbose or not sys.stderr.isatty():
        return cdk(*arguments, quiet=True)
    said = []
    with (
        _started(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process,
        activity("Deploying") as say,
    ):
        for line in process.stderr or ():
            said.append(line)
            if found := _PROGRESS.match(line):
                say(f"Deploying {found['stack']}: {found['count']} resources, {found['name']}")
        code = process.wait()
    if code != 0:
        sys.stderr.write("".join(said))
    return code


def _synth(arguments: Sequence[str]) -> int:
    """Synthesize with the CDK CLI; returns its exit code. Its output is shown at the end.

    After an interruption it is not shown: the app is interrupted, too, and its traceback helps nobody.
    """
    with _started(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        said, _nothing = process.communicate()
    sys.stderr.write(said)
    return process.returncode


@contextmanager
def _started(arguments: Sequence[str], *, stdout: Any, stderr: Any = None) -> Iterator[subprocess.Popen[str]]:
    """The cdk as a process, which has ended at the end of the block."""
    command, environment = cdk_command(["--no-notices", "--no-version-reporting", *arguments])
    process = subprocess.Popen(
        command,
        env={**environment, "CDK_DISABLE_VERSION_CHECK": "1"},  # its version is locked
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        errors="replace",
    )
    try:
        yield process
    except KeyboardInterrupt:  # which a terminal sends to the cdk as well
        try:
            process.wait(_INTERRUPTED_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


def _guess(fdl: str, context: Mapping[str, str], named: Sequence[str]) -> Iterator[str]:
    """Buckets of the FDL file that probably exist outside its stack.

    Only the template shows which buckets the stack creates. A correct guess saves a second synthesis.
    """
    from botocore.exceptions import ClientError

    stage = context.get("stage") or None
    workflow = workflow_of(fdl)
    names = {staged(function.name, stage) for function in workflow.functions}
    own = {
        bucket
        for stack in stacks()
        if stack.workflow == workflow.name or any(function.name in names for function in stack.functions)
        for bucket in _owned(SynthesizedStack(stack.name, stack.region, ()))
    }
    s3 = client("s3")
    for bucket in workflow.buckets:
        name = _final_name(bucket, context)
        if name not in own and not {bucket, name} & set(named):
            with explained():
                try:
                    s3.head_bucket(Bucket=name)
                except ClientError:
                    continue  # the reason is reported where it matters
            yield name


def _synthesize(given: Mapping[str, str], named: Sequence[str], found: set[str], folder: Path) -> None:
    context = dict(given)
    if named or found:
        context["existing_buckets"] = ",".join([*named, *sorted(found)])
    pairs = context.get("bucket_keys", "").split(",")
    known = {pair.partition("=")[0] for pair in pairs}
    keys = {bucket: key_of_bucket(bucket) for bucket in (*named, *sorted(found)) if bucket not in known}
    pairs += [f"{bucket}={arn}" for bucket, arn in keys.items() if arn is not None]
    if any(pairs):
        context["bucket_keys"] = ",".join(filter(None, pairs))
    values = [word for key, value in context.items() for word in ("-c", f"{key}={value}")]
    if _synth(("synth", "--quiet", "--app", _APP, "--output", str(folder), *values)) != 0:
        raise UserError("The workflow cannot be synthesized", "See the messages above")


def key_of_bucket(bucket: str) -> str | None:
    """ARN of the customer-managed KMS key that encrypts new objects of an existing bucket, if there is one.

    None, after a note, if the caller may not read the bucket's settings.

    Raises:
        UserError: the key's ARN cannot be found.
    """
    from botocore.exceptions import ClientError

    s3 = client("s3")
    with explained(*_NO_KEY):
        try:
            answer = s3.get_bucket_encryption(Bucket=bucket)
        except ClientError as error:
            if error_code(error) in _DENIED:
                click.echo(
                    f"scar: The encryption of the bucket {bucket} was not looked up: "
                    "s3:GetEncryptionConfiguration is not allowed. If it has a KMS key of its own, add "
                    f"-c bucket_keys={bucket}=ARN",
                    err=True,
                )
                return None
            raise
        rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
        defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
        for named in (one.get("KMSMasterKeyID") for one in defaults):
            if named:
                return _arn_of_key(bucket, named)
    return None


def _arn_of_key(bucket: str, named: str) -> str | None:
    """The ARN of a key by its ARN, ID or alias; None for that of AWS, which needs no permission."""
    if _KEY_ARN.match(named):
        return named
    region = named.split(":")[3] if named.startswith("arn:") else None
    try:
        with explained():
            found = client("kms", region=region).describe_key(KeyId=named)["KeyMetadata"]
    except UserError as error:
        raise UserError(
            f"The KMS key {named} of the bucket {bucket} cannot be looked up: {error.cause}",
            f"Add -c bucket_keys={bucket}=ARN, with the ARN of the key",
        ) from error
    return None if found["KeyManager"] == "AWS" else str(found["Arn"])


def _stacks(folder: Path) -> list[SynthesizedStack]:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    found = []
    for name, artifact in manifest.get("artifacts", {}).items():
        if artifact.get("type") == "aws:cloudformation:stack":
            properties = artifact["properties"]
            template = flattened(_template(folder, properties["templateFile"]), partial(_nested, folder))
            region = str(artifact.get("environment", "")).rpartition("/")[2]
            found.append(
                SynthesizedStack(
                    name=str(properties.get("stackName", name)),
                    region=None if region in ("", "unknown-region") else region,
                    buckets=tuple(_buckets(template)),
                    template=template,
                )
            )
    return found


def _template(folder: Path, name: str) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content


def _nested(folder: Path, _identity: str, resource: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The template of a nested stack, which the CDK names in the metadata of the stack."""
    name = (resource.get("Metadata") or {}).get(_TEMPLATE_FILE)
    return None if name is None else _template(folder, name)


def _buckets(template: Mapping[str, Any]) -> Iterator[str]:
    for resource in template.get("Resources", {}).values():
        name = resource.get("Properties", {}).get("BucketName")
        if resource.get("Type") == "AWS::S3::Bucket" and isinstance(name, str):
            yield name


def _owned(stack: SynthesizedStack) -> set[str]:
    """Buckets of the deployed stack."""
    return {
        str(resource.get("PhysicalResourceId"))
        for resource in resources_of_stack(client("cloudformation", region=stack.region), stack.name)
        if resource["ResourceType"] == "AWS::S3::Bucket"
        and not resource["ResourceStatus"].startswith("DELETE_")
    }


def _place(fdl: str, context: Mapping[str, str], bucket: str) -> str:
    """Where the FDL file mentions a bucket; empty if a function was described by flags."""
    if "from_flags" in context:
        return ""
    from fdl_schemas.places import place_of_bucket  # after an error only: it loads the reader of FDL files

    names = {_final_name(name, context): name for name in workflow_of(fdl).buckets}
    found = place_of_bucket(fdl, names.get(bucket, bucket))
    return "" if found is None else f"{found}: "


def _final_name(bucket: str, context: Mapping[str, str]) -> str:
    suffix = context.get("bucket_suffix")
    return staged(f"{bucket}-{suffix}" if suffix else bucket, context.get("stage") or None)


def _is_there(s3: Any, bucket: str, place: Callable[[str], str]) -> bool:
    from botocore.exceptions import ClientError

    with explained("404", "NoSuchBucket"):
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error_code(error) in ("400", "403"):
                ask_why(s3, bucket)
            if error_code(error) == "403":
                raise UserError(
                    f"{place(bucket)}The bucket name {bucket} is taken, possibly by another account: bucket "
                    "names are unique across AWS",
                    "Choose another name, or add --bucket-suffix",
                ) from error
            if error_code(error) == _ANOTHER_REGION:
                raise UserError(
                    f"{place(bucket)}The bucket {bucket} is in another region, and triggers only work within "
                    "a region",
                    "Deploy to its region with AWS_REGION, or add --bucket-suffix",
                ) from error
            raise
        return True
    return False
