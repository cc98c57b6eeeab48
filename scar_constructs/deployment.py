"""The settings of a deployment: the context values `-c KEY=VALUE`, validated, and the final names.

The author of an FDL file chooses the names of functions and buckets. A deployment may add a suffix to bucket
names (they are globally unique) and a stage to all names, and may use existing buckets. `with_real_names`
returns the same workflow with the final names, so that no other code has to build them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from fdl_schemas.model import Function, StorageEntry, Workflow
from fdl_schemas.stages import stage_problem, staged

UDOCKER_TOOLS = "udocker_tools"
"""Context key: whether udocker's tools are packaged with the runner (`udocker_tarball`)."""

METRICS = "metrics"
"""Context key: whether functions have metrics in CloudWatch (`docs/metrics.md`)."""

DISTRIBUTED_LAUNCH = "distributed_launch"
"""Context key: whether launches can run in AWS (`DistributedLaunch`)."""

DASHBOARD, ALARM_EMAIL, ALARM_TOPIC = "dashboard", "alarm_email", "alarm_topic"
"""Context keys: see `scar_constructs.monitoring`."""

CONTEXT_KEYS: Mapping[str, str] = {
    "fdl": "path of the FDL file, e.g. -c fdl=examples/video-process/scar-video-process.yaml",
    "stack": "name of the stack; default: the FDL file's stem",
    "stage": "deploys the FDL file once more under its own names: function `thumbnails` becomes "
    "`thumbnails-STAGE`, and so do buckets and the stack",
    "bucket_suffix": "makes the names of new buckets unique: `scar-video` becomes `scar-video-SUFFIX`",
    "existing_buckets": "comma-separated names of existing buckets",
    "bucket_keys": "comma-separated BUCKET=ARN pairs: customer-managed KMS keys of existing or new buckets",
    "removal": "`retain` (default) keeps the stack's buckets and failure queues when it is destroyed, "
    "`destroy` deletes them",
    "vpc": "VPC of Batch jobs without subnets of their own: `new` (default) creates one, `default` is the "
    "account's default VPC, and an ID is that of another existing VPC",
    "registry_mirrors": "comma-separated REGISTRY=BASE pairs, e.g. docker.io=https://mirror.example.org",
    UDOCKER_TOOLS: "for `runtime: python3.13`: `none` leaves udocker's tools out of the runner, `download` "
    "or `sha256:DIGEST` downloads them; default: they are downloaded for a deployment to AWS",
    METRICS: "`false` leaves the metrics of runs out of CloudWatch, where they cost money; default: `true`",
    DISTRIBUTED_LAUNCH: "`true` creates, for each function that reads from S3 and is not in `batch` mode, "
    "the state machine that `scar-launch --distributed` starts; default: `false`",
    DASHBOARD: "`true` creates a CloudWatch dashboard; default: `false`",
    ALARM_EMAIL: "creates alarms, and a topic that sends their notifications to this e-mail address",
    ALARM_TOPIC: "creates alarms that notify an existing SNS topic, by its ARN",
}
"""Every context key that this app reads, with its description."""

_FORMS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "stack": (
        re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}"),
        "letters, digits and hyphens, a letter first, at most 128",
    ),
    "bucket_suffix": (
        re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"),
        "lowercase letters, digits and hyphens, starting and ending with a letter or digit",
    ),
    "existing_buckets": (
        re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
        "names of S3 buckets, separated by commas",
    ),
    "bucket_keys": (
        re.compile(
            r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]=arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+"
        ),
        "BUCKET=ARN, with the ARN of a key, `arn:aws:kms:REGION:ACCOUNT:key/ID`",
    ),
    "removal": (re.compile(r"retain|destroy"), "`retain` or `destroy`"),
    "vpc": (re.compile(r"new|default|vpc-[0-9a-f]{8,17}"), "`new`, `default`, or the ID of a VPC"),
    "registry_mirrors": (
        re.compile(r"[^=\s/]+(?:/[^=\s]*)?=(?:https?://[^\s/]+\S*|file:///\S*)"),
        "REGISTRY=BASE with a BASE of https://…, http://… or file:///folder",
    ),
    UDOCKER_TOOLS: (
        re.compile(r"none|download|sha256:[0-9a-f]{64}"),
        "`none`, `download`, or `sha256:` and 64 digits",
    ),
    ALARM_EMAIL: (
        re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
        "one e-mail address, such as team@example.org",
    ),
    ALARM_TOPIC: (
        re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}"),
        "the ARN of a standard topic, `arn:aws:sns:REGION:ACCOUNT:NAME`",
    ),
}
"""The pattern for the value of a context key, and its description in messages."""

_LONGEST_BUCKET_NAME = 63
_LONGEST_FUNCTION_NAME = 64
_LONGEST_STACK_NAME = 128


class DeploymentError(ValueError):
    """This workflow cannot be deployed in this way; the text is one line for the deployer."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The deployer's decisions."""

    fdl: Path
    stack_name: str
    """With the stage."""
    stage: str | None = None
    bucket_suffix: str | None = None
    existing_buckets: tuple[str, ...] = ()
    bucket_keys: tuple[tuple[str, str], ...] = ()
    """Names of buckets, as in `existing_buckets`, and ARNs of KMS keys."""
    destroy_buckets: bool = False
    registry_mirrors: str | None = None
    udocker_tools: str | None = None
    distributed_launch: bool = False
    metrics: bool = True
    vpc: str | None = None
    """`default` or the ID of a VPC; None: a VPC is created if jobs need one."""
    dashboard: bool = False
    alarm_email: str | None = None
    alarm_topic: str | None = None
    """An ARN. At most one of both is set; if neither is, there are no alarms."""

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> Deployment:
        """Read the CDK app's context.

        :raises DeploymentError: a value is missing or cannot be used.
        """
        _refuse_misspelt_keys(context)
        fdl = _text(context, "fdl")
        if fdl is None:
            raise DeploymentError(f"no FDL file given: add -c fdl=FILE ({CONTEXT_KEYS['fdl']})")
        stack_name = _text(context, "stack")
        stage = _text(context, "stage")
        if stage is not None and (problem := stage_problem(stage)):
            raise DeploymentError(f"-c stage={stage}: {problem}")
        suffix = _text(context, "bucket_suffix")
        existing = _names(context, "existing_buckets")
        keys = _names(context, "bucket_keys")
        removal = _text(context, "removal")
        vpc = _text(context, "vpc")
        mirrors = _names(context, "registry_mirrors")
        udocker_tools = _text(context, UDOCKER_TOOLS)
        email, topic = _text(context, ALARM_EMAIL), _text(context, ALARM_TOPIC)
        for key, values in (
            ("stack", (stack_name,)),
            ("bucket_suffix", (suffix,)),
            ("existing_buckets", existing),
            ("bucket_keys", keys),
            ("removal", (removal,)),
            ("vpc", (vpc,)),
            ("registry_mirrors", mirrors),
            (UDOCKER_TOOLS, (udocker_tools,)),
            (ALARM_EMAIL, (email,)),
            (ALARM_TOPIC, (topic,)),
        ):
            pattern, expected = _FORMS[key]
            for value in values:
                if value is not None and not pattern.fullmatch(value):
                    raise DeploymentError(f"-c {key}={value}: expected {expected}")
        if email is not None and topic is not None:
            raise DeploymentError(
                f"-c {ALARM_EMAIL}={email}: {ALARM_TOPIC} is also set; remove one of them, and subscribe the "
                "address to the topic"
            )
        return cls(
            fdl=Path(fdl),
            stack_name=_staged(
                "stack", stack_name or stack_name_for(Path(fdl).stem), stage, _LONGEST_STACK_NAME
            ),
            stage=stage,
            bucket_suffix=suffix,
            existing_buckets=existing,
            bucket_keys=tuple((bucket, arn) for bucket, _, arn in (pair.partition("=") for pair in keys)),
            destroy_buckets=removal == "destroy",
            registry_mirrors=",".join(mirrors) or None,
            udocker_tools=udocker_tools,
            distributed_launch=_yes_or_no(context, DISTRIBUTED_LAUNCH),
            metrics=_yes_or_no(context, METRICS, default=True),
            vpc=None if vpc == "new" else vpc,
            dashboard=_yes_or_no(context, DASHBOARD),
            alarm_email=email,
            alarm_topic=topic,
        )

    def with_names(self, workflow: Workflow) -> Workflow:
        """`with_real_names` of this deployment."""
        return with_real_names(
            workflow,
            stage=self.stage,
            bucket_suffix=self.bucket_suffix,
            existing_buckets=self.existing_buckets,
        )

    def keys_of_buckets(self, workflow: Workflow) -> Mapping[str, str]:
        """The ARN of the KMS key of each bucket that has one, by final name.

        :param workflow: with the names of the FDL file.
        :raises DeploymentError: a bucket is not used by the workflow.
        """
        names = real_bucket_names(
            workflow,
            stage=self.stage,
            bucket_suffix=self.bucket_suffix,
            existing_buckets=self.existing_buckets,
        )
        staging = {function.deployment_bucket for function in workflow.functions}
        keys = {names.get(bucket, bucket): arn for bucket, arn in self.bucket_keys}
        if unknown := sorted(set(keys) - set(names.values()) - staging):
            raise DeploymentError(
                f"-c bucket_keys: {', '.join(unknown)} not used by {workflow.source.name}; "
                f"its buckets are {', '.join(names.values()) or 'none'}"
            )
        return keys


def cdk_context(environ: Mapping[str, str]) -> Mapping[str, object]:
    """The context that the cdk command passes to its app: in a variable, or in a file if it is too long.

    `App` reads the same by itself, but takes seconds to load: too long to wait for "file not found".
    """
    context: dict[str, object] = json.loads(environ.get("CDK_CONTEXT_JSON") or "{}")
    if overflow := environ.get("CONTEXT_OVERFLOW_LOCATION_ENV"):
        context |= json.loads(Path(overflow).read_text(encoding="utf-8"))
    return context


def stack_name_for(stem: str) -> str:
    """An FDL file's stem as a stack's name may be: letters, digits and hyphens, a letter first."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")
    if not name[:1].isalpha():
        name = f"scar-{name}" if name else "scar"
    return name[:_LONGEST_STACK_NAME].rstrip("-")


def real_bucket_names(
    workflow: Workflow,
    *,
    stage: str | None = None,
    bucket_suffix: str | None = None,
    existing_buckets: Iterable[str] = (),
) -> Mapping[str, str]:
    """The deployed name of each bucket of the FDL file: `BUCKET-SUFFIX-STAGE`.

    `existing_buckets` lists existing buckets by their final name, or by their name in the FDL file: such a
    bucket is used under exactly that name.

    :raises DeploymentError: an existing bucket is not used by the workflow, a name becomes too long, or two
        buckets get the same name.
    """
    existing = frozenset(existing_buckets)
    names: dict[str, str] = {}
    for bucket in workflow.buckets:
        suffixed = f"{bucket}-{bucket_suffix}" if bucket_suffix else bucket
        final = staged(suffixed, stage)
        if bucket in existing and final not in existing:
            final = bucket
        if len(final) > _LONGEST_BUCKET_NAME:
            added = f"-c bucket_suffix={bucket_suffix}" if stage is None else f"-c stage={stage}"
            raise DeploymentError(
                f"{added}: bucket name {final} is {len(final)} characters long; "
                f"the maximum is {_LONGEST_BUCKET_NAME}"
            )
        if final in names.values():
            raise DeploymentError(f"two buckets of {workflow.source.name} would both be named {final}")
        names[bucket] = final
    unknown = sorted(existing - set(names.values()))
    if unknown:
        raise DeploymentError(
            f"-c existing_buckets: {', '.join(unknown)} not used by {workflow.source.name}; "
            f"its buckets are {', '.join(names.values()) or 'none'}"
        )
    return names


def with_real_names(
    workflow: Workflow,
    *,
    stage: str | None = None,
    bucket_suffix: str | None = None,
    existing_buckets: Iterable[str] = (),
) -> Workflow:
    """The same workflow with the deployed names of its functions, APIs and buckets.

    Functions keep their order.

    :raises DeploymentError: see `real_bucket_names`; or the name of a function becomes too long.
    """
    names = real_bucket_names(
        workflow, stage=stage, bucket_suffix=bucket_suffix, existing_buckets=existing_buckets
    )

    def renamed(entries: tuple[StorageEntry, ...]) -> tuple[StorageEntry, ...]:
        return tuple(
            replace(entry, bucket=names[entry.bucket])
            if entry.provider == "s3" and not entry.is_notified_elsewhere
            else entry  # of another account, or not of this workflow
            for entry in entries
        )

    def with_names(function: Function) -> Function:
        staging, api = function.deployment_bucket, function.api_gateway
        return replace(
            function,
            name=_staged("function", function.name, stage, _LONGEST_FUNCTION_NAME),
            api_gateway=None if api is None else replace(api, name=staged(api.name, stage)),
            inputs=renamed(function.inputs),
            outputs=renamed(function.outputs),
            # Usually not a bucket of the workflow: then it already exists, under its own name.
            deployment_bucket=names.get(staging, staging) if staging is not None else None,
        )

    return replace(
        workflow, stage=stage, functions=tuple(with_names(function) for function in workflow.functions)
    )


def _staged(what: str, name: str, stage: str | None, longest: int) -> str:
    final = staged(name, stage)
    if len(final) > longest:
        raise DeploymentError(
            f"-c stage={stage}: {what} name {final} is {len(final)} characters long; the maximum is {longest}"
        )
    return final


def _text(context: Mapping[str, object], key: str) -> str | None:
    value = context.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise DeploymentError(f"context {key}: expected text ({CONTEXT_KEYS[key]}), found {value!r}")
    return value.strip()


def _yes_or_no(context: Mapping[str, object], key: str, *, default: bool = False) -> bool:
    """`true` or `false`, as a string or (from a cdk.json) as a boolean."""
    value = context.get(key)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise DeploymentError(f"-c {key}={value}: expected `true` or `false`")
    return value == "true"


def _names(context: Mapping[str, object], key: str) -> tuple[str, ...]:
    """A comma-separated text, or (from a cdk.json) a list of texts."""
    value = context.get(key)
    if value is None:
        return ()
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise DeploymentError(f"context {key}: expected text ({CONTEXT_KEYS[key]}), found {value!r}")
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _refuse_misspelt_keys(context: Mapping[str, object]) -> None:
    """A misspelled `-c` key would be ignored silently: reject one that is similar to ours."""
    for key in context:
        near = get_close_matches(key.lower().replace("-", "_"), CONTEXT_KEYS, n=1, cutoff=0.85)
        if key not in CONTEXT_KEYS and near:
            raise DeploymentError(f"-c {key}: unknown context key; did you mean {near[0]}?")
