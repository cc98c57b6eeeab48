"""The settings of a connection with their secrets, from AWS Secrets Manager.

A secret is read once for each execution environment, kept in memory alone, and read anew when a storage has
refused it. No message, log line or `repr` of this module holds a value; what cannot be a credential (control
characters, which would also break out of an HTTP header) is refused before anything is done with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from runtime import aws
from runtime.bounded_json import JsonError, read_json
from runtime.config import SecretField, StorageProvider
from runtime.errors import RunnerError

STACK_SECRET = "SCAR_STORAGE_SECRET"  # noqa: S105 (the name of a variable, which holds an ARN)
ARN_PARTS = 7
"""arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME"""

_read: dict[tuple[str | None, str], str] = {}


def settings_of(provider: StorageProvider, *, fresh: bool = False) -> dict[str, str]:
    """All settings as texts; `fresh`: secrets are read again.

    Raises `RunnerError` (`SecretUnavailable`, `Misconfigured`).
    """
    if fresh:
        for field in provider.settings.values():
            if isinstance(field, SecretField):
                _read.pop(_cache_key(_name_of(provider, field)), None)
    return {
        key: field if isinstance(field, str) else _value(provider, key, field)
        for key, field in provider.settings.items()
    }


def _value(provider: StorageProvider, key: str, field: SecretField) -> str:
    where = f"{key} of the storage provider {provider.name}"
    name = _name_of(provider, field)
    text = secret_string(name, where)
    try:
        content = read_json(text)
    except JsonError:
        content = None
    if field.secret is None:
        members = content.get(provider.name) if isinstance(content, dict) else None
        value = members.get(key) if isinstance(members, dict) else None
        shape = f"{provider.name}.{key}"
    elif isinstance(content, dict):
        value = content.get(key)
        shape = key
    else:
        value = text
        shape = ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # a password of digits, typed in without quotes
    if not isinstance(value, str):
        raise RunnerError(
            f"The secret {name} ({where}) is a JSON object without a text {shape!r}",
            advice="Store the bare text, or an object that has it.",
            kind="SecretUnavailable",
        )
    value = value.strip("\r\n")  # what an editor or `echo` puts at the end
    is_text = value.isprintable() and (value.isascii() or key in ("login", "password"))
    if not value or not is_text:
        raise RunnerError(
            f"The secret {name} ({where}) is empty, or holds characters that no {key} has",
            advice="Store the credential alone, as one line.",
            kind="SecretUnavailable",
        )
    return value


def _name_of(provider: StorageProvider, field: SecretField) -> str:
    name = field.secret or os.environ.get(STACK_SECRET)
    if not name:
        raise RunnerError(
            f"The secrets of the storage provider {provider.name} are said to be in the stack's secret, but "
            f"{STACK_SECRET} is not set",
            advice="Deploy the function again.",
            kind="Misconfigured",
        )
    return name


def _cache_key(name: str) -> tuple[str | None, str]:
    return aws.own_endpoint(os.environ, "secrets_manager"), name


def secret_string(name: str, where: str, *, fresh: bool = False) -> str:
    """The text of the secret with this name or ARN; `where` says in messages what it is for, `fresh` that it
    has to be read again. Raises `RunnerError` (`SecretUnavailable`)."""
    from botocore.exceptions import BotoCoreError, ClientError

    key = _cache_key(name)
    if key in _read and not fresh:
        return _read[key]
    try:
        answer: Mapping[str, object] = aws.client("secretsmanager", _region_of(name)).get_secret_value(
            SecretId=name
        )
    except ClientError as error:
        raise _refused(name, where, str(error.response.get("Error", {}).get("Code", ""))) from None
    except BotoCoreError as error:
        raise RunnerError(
            f"The secret {name} ({where}) could not be read: {error}",
            advice="The event will be retried; a function in a VPC needs a way to AWS Secrets Manager.",
            kind="SecretUnavailable",
        ) from None
    text = answer.get("SecretString")
    if not isinstance(text, str):
        raise RunnerError(
            f"The secret {name} ({where}) is binary",
            advice="Store it as text.",
            kind="SecretUnavailable",
        )
    _read[key] = text
    return text


def _region_of(name: str) -> str | None:
    parts = name.split(":")
    return parts[3] or None if len(parts) >= ARN_PARTS and parts[0] == "arn" else None


def _refused(name: str, where: str, code: str) -> RunnerError:
    if code == "ResourceNotFoundException":
        cause, advice = "does not exist", "Create it in AWS Secrets Manager, or correct its name."
    elif code == "InvalidRequestException":
        cause, advice = "is marked for deletion", "Restore it, or name another one."
    elif code in ("AccessDeniedException", "AccessDenied"):
        cause = "may not be read by the function"
        advice = (
            "Its role needs secretsmanager:GetSecretValue on it (and kms:Decrypt, with a key of one's own)."
        )
    else:
        cause, advice = f"could not be read ({code})", ""
    return RunnerError(f"The secret {name} ({where}) {cause}", advice=advice, kind="SecretUnavailable")
