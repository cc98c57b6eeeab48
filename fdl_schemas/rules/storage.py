"""The rules about storage: paths, buckets, providers, and whether an input can trigger anything."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Final
from urllib.parse import urlsplit

from fdl_schemas.build import Draft
from fdl_schemas.diagnostics.diagnostic import quoted
from fdl_schemas.model import SECRET_SETTINGS, Function, OscarService, Setting, StorageEntry
from fdl_schemas.names import BUCKET_RULE, bucket_problem, similar_bucket
from fdl_schemas.reading.document import PathInFile
from fdl_schemas.reading.explain import one_of
from fdl_schemas.reading.findings import Findings

KINDS: Final = ("s3", "minio", "webdav", "onedata")
_NAMED_AT_MOST: Final = 5
_LONGEST_FOLDER: Final = 900  # bytes; an object key has at most 1024, and includes the file name
_LONGEST_POLICY: Final = 10_240
_MOST_RIGHTS: Final = 8_000  # the rest is for logs, secrets, images and jobs
_AROUND_A_FOLDER: Final = 20  # of its ARN
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_LONGEST_FUNCTION_POLICY: Final = 20_480
_STATEMENT: Final = 450  # that lets one bucket, rule or topic invoke a function, but for the function's name
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-policies.html
_MOST_SENDERS: Final = 25  # the policy of a queue has at most 8,192 bytes, and the ARN of a topic about 300
_METHODS: Final = 2  # of an HTTP endpoint, with a statement each
_ADDRESSES: Final = frozenset({"endpoint", "hostname", "oneprovider_host"})
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_URI = re.compile(
    r"(?P<s3>s3[an]?://|arn:aws[a-z-]*:s3:::)|https?://[^/]*amazonaws\.com(?:/|$)|[a-z0-9+.-]+://",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(r"[A-Za-z0-9/_+=.@:!-]{1,2048}")


def check_storage(step: Function | OscarService, path: PathInFile, draft: Draft, findings: Findings) -> None:
    """Checks inputs and outputs of the function, or of the OSCAR service, at `path`."""
    on_aws = isinstance(step, Function)
    for key, entries in (("input", step.inputs), ("output", step.outputs)):
        for index, entry in enumerate(entries):
            at = (*path, key, index)
            if not findings.is_whole(at):
                continue
            if _check_provider(entry, at, draft, on_aws, findings) and _check_path(entry, at, findings):
                _check_bucket(entry, at, findings)
            if (
                key == "input"
                and on_aws
                and entry.provider != "s3"
                and entry.provider.partition(".")[0] in KINDS
            ):
                findings.error(
                    "FDL029",
                    f"an input on {quoted(entry.provider)} cannot trigger a Lambda function",
                    (*at, "storage_provider"),
                    expected="`s3`, a bucket in the function's own account",
                    help="use `storage_provider: s3`; other providers can only be outputs",
                )
    if isinstance(step, Function):
        _check_rights(step, path, findings)
        _check_sources(step, path, findings)
    if on_aws and isinstance(step, Function) and step.deployment_bucket is not None:
        at = (*path, "deployment", "bucket")
        problem = bucket_problem(step.deployment_bucket)
        if problem:
            _report_bucket(step.deployment_bucket, problem, at, findings)


def _check_rights(function: Function, path: PathInFile, findings: Findings) -> None:
    size = sum(
        len(entry.bucket) + len(entry.folder) + _AROUND_A_FOLDER
        for entries in (function.inputs, function.outputs)
        for entry in {(entry.bucket, entry.folder): entry for entry in entries}.values()
        if entry.provider == "s3"
    )
    if size > _MOST_RIGHTS and (function.role_arn is None or function.batch is not None):
        findings.error(
            "FDL017",
            f"permissions on the folders of this function need {size:,} characters",
            (*path, "output" if function.outputs else "input"),
            expected=f"at most {_MOST_RIGHTS:,}; AWS IAM allows {_LONGEST_POLICY:,} for a role",
            help="use fewer folders, such as one parent folder, or shorter names",
            on_key=True,
        )


def _check_sources(function: Function, path: PathInFile, findings: Findings) -> None:
    sources, queued = (
        {
            entry.topic_arn or entry.bucket
            for entry in function.inputs
            if entry.provider == "s3" and (entry.queue is not None) is in_queue
            if entry.queue is None or entry.queue.arn is None
        }
        for in_queue in (False, True)
    )
    most = _LONGEST_FUNCTION_POLICY // (_STATEMENT + len(function.name))
    most -= _METHODS if function.api_gateway is not None else 0
    allows = "the policy that lets them invoke the function has at most 20 KiB"
    for found, limit, verb, reason in (
        (queued, _MOST_SENDERS, "send to the queue of", "the policy that allows it has at most 8 KiB"),
        (sources, most, "trigger", allows),
    ):
        if len(found) > limit:
            findings.error(
                "FDL017",
                f"{len(found)} buckets and topics {verb} the function",
                (*path, "input"),
                expected=f"at most {limit}; {reason}",
                help="read from fewer buckets, or split the function",
                on_key=True,
            )


def _check_provider(
    entry: StorageEntry, at: PathInFile, draft: Draft, on_aws: bool, findings: Findings
) -> bool:
    kind, _, name = entry.provider.partition(".")
    path = (*at, "storage_provider")
    if kind == "rucio":
        _refuse_rucio(path, findings)
        return False
    if kind not in KINDS:
        findings.error(
            "FDL028",
            f"unknown storage provider {quoted(entry.provider)}",
            path,
            expected=f"{one_of(KINDS)}, followed by `.NAME` for a named connection",
            help="correct the spelling",
        )
        return False
    if not on_aws or entry.provider == "s3":
        return True  # an OSCAR cluster has connections of its own
    if at[-2] == "input":
        return True  # reported as one that cannot trigger
    if entry.provider in draft.connections or not findings.is_whole(("storage_providers",)):
        return True
    findings.error(
        "FDL028",
        f"storage provider {quoted(entry.provider)} is not defined",
        path,
        expected=f"`s3`, or a connection in `storage_providers`{_some_of(draft.connections)}",
        help=f"define it at the top level: `storage_providers: {{{kind}: {{{name}: …}}}}`"
        if name
        else f"write `{kind}.NAME`, and define the connection in `storage_providers`",
    )
    return False


def _some_of(connections: Iterable[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in islice(connections, _NAMED_AT_MOST))
    return f", such as {listed}" if listed else ""


def _check_path(entry: StorageEntry, at: PathInFile, findings: Findings) -> bool:
    written = findings.document.node((*at, "path")).text or ""
    if (problem := _path_problem(entry, written)) is None:
        return True
    what, advice = problem
    findings.damage(at)
    findings.error(
        "FDL027",
        f"invalid storage path: {what}",
        (*at, "path"),
        expected="`bucket` or `bucket/folder`",
        help=advice,
    )
    return False


def _path_problem(entry: StorageEntry, written: str) -> tuple[str, str] | None:  # noqa: PLR0911
    if start := _URI.match(written):
        path = written[start.end() :].strip("/")
        what = "it is an ARN" if start[0].startswith("arn") else "it is a URI"
        return what, f"write {quoted(path)}" if start["s3"] and path else "write the bucket and the folder"
    if not entry.bucket:
        return "the bucket is missing", "write the bucket's name first"
    if not written.isprintable():
        return "it contains characters that cannot be printed", "remove them"
    segments = entry.folder.split("/") if entry.folder else []
    if "" in segments:
        return "it contains two slashes in a row", "remove one of them"
    if {".", ".."} & {entry.bucket, *segments}:
        return "S3 does not support `.` and `..`", "write the whole path of the folder"
    if len(entry.folder.encode("utf-8", "replace")) > _LONGEST_FOLDER:
        return (
            f"the folder is longer than {_LONGEST_FOLDER} bytes",
            "shorten it; an object key in S3 can be at most 1024 bytes long",
        )
    return None


def _check_bucket(entry: StorageEntry, at: PathInFile, findings: Findings) -> None:
    if entry.provider.partition(".")[0] in ("s3", "minio") and (problem := bucket_problem(entry.bucket)):
        _report_bucket(entry.bucket, problem, (*at, "path"), findings)


def _report_bucket(bucket: str, problem: str, at: PathInFile, findings: Findings) -> None:
    if not findings.is_first_mention("FDL026", bucket):
        return
    similar = similar_bucket(bucket)
    findings.error(
        "FDL026",
        f"invalid bucket name {quoted(bucket)}: {problem}",
        at,
        expected=BUCKET_RULE,
        help=f"use a valid name, such as {quoted(similar)}" if similar else "use another name",
    )


def check_providers(draft: Draft, findings: Findings) -> None:
    """Checks `storage_providers`: references to secrets, and secrets in plain text."""
    if draft.rucio:
        _refuse_rucio(("storage_providers", "rucio"), findings)
    for place, provider in draft.providers.items():
        for key, setting in provider.settings.items():
            path = (*place, key)
            if not findings.is_whole(path):
                continue
            if key in SECRET_SETTINGS or setting.kept_in == "environment":
                _check_secret(setting, path, findings)
            elif setting.kept_in == "secret":
                findings.error(
                    "FDL036",
                    f"{quoted(key)} cannot be a reference to a secret",
                    path,
                    expected="the value itself, or ${ENV:NAME}",
                    help="only these can: " + ", ".join(f"`{name}`" for name in sorted(SECRET_SETTINGS)),
                )
            elif key in _ADDRESSES:
                _check_address(setting.value, path, findings)
            elif key == "space" and {"", ".", ".."} & set(setting.value.strip().split("/")):
                findings.error(
                    "FDL016",
                    f"invalid space name {quoted(setting.value)}",
                    path,
                    expected="the name of the space, as shown by Onedata",
                    help="write folders in the `path` of an output",
                )


def _check_secret(setting: Setting, path: PathInFile, findings: Findings) -> None:
    allowed = {"environment": _ENVIRONMENT_NAME, "secret": _SECRET_NAME}.get(setting.kept_in)
    invalid = not allowed.fullmatch(setting.value) if allowed else setting.value.startswith("${")
    if invalid:
        names = "write the name of the environment variable, or of the Secrets Manager secret"
        findings.error(
            "FDL036",
            f"invalid reference in {quoted(str(path[-1]))}",
            path,
            expected="${ENV:NAME} or ${SECRET:name-or-arn}",
            help=names if allowed else "correct the reference",
        )
    elif allowed is None and path[-1] == "login" and ":" in setting.value:
        findings.error(
            "FDL016",
            "`login` contains `:`",
            path,
            expected="a user name without `:`",
            help="write the password in the key `password`",
        )
    elif allowed is None and path[-1] in ("secret_key", "password", "token"):
        findings.warning(
            "FDL053",
            f"{quoted(str(path[-1]))} is in plain text",
            path,
            expected="${SECRET:name-or-arn} or ${ENV:NAME}",
            help="keep it in AWS Secrets Manager, and do not commit it",
            on_key=True,
        )


def _check_address(text: str, path: PathInFile, findings: Findings) -> None:
    """Rejects what the runner would reject at the first event; no message shows a password in it."""
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    bad = not text.isascii() or not text.isprintable() or " " in text
    problem = None
    if bad or not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        problem = "is not the address of a server"
    elif parts.username is not None or parts.password is not None:
        problem = "contains a user name or a password"
    if problem:
        expected = "`HOST`, `HOST:PORT`, or a URL that starts with `https://` or `http://`"
        advice = "write only the server's address; user name and password have keys of their own"
        findings.error("FDL016", f"{quoted(str(path[-1]))} {problem}", path, expected=expected, help=advice)


def _refuse_rucio(path: PathInFile, findings: Findings) -> None:
    findings.error(
        "FDL041",
        "Rucio is not supported",
        path,
        expected=one_of(KINDS),
        help="write to S3, and register the files in Rucio from there",
        on_key=path[-1] == "rucio",
    )
