"""The settings of a connection with their secrets, from AWS Secrets Manager.

A secret is read again after a storage has rejected it. No message, log line or `repr` of this module contains
a value. Values that cannot be credentials (with control characters, which could also inject HTTP headers) are
rejected before use.
"""

from __future__ import annotations

import os

from containers.aws_secrets import forget, secret_string
from containers.bounded_json import JsonError, read_json
from containers.errors import ErrorKind, ExplainedError
from runtime.config import SecretField, StorageConnection

STACK_SECRET = "SCAR_STORAGE_SECRET"  # noqa: S105 (the name of a variable, which holds an ARN)


def settings_of(provider: StorageConnection, *, fresh: bool = False) -> dict[str, str]:
    """All settings as strings; `fresh`: secrets are read again.

    Raises `ExplainedError` (`SecretUnavailable`, `Misconfigured`).
    """
    if fresh:
        for field in provider.settings.values():
            if isinstance(field, SecretField):
                forget(_name_of(provider, field))
    return {
        key: field if isinstance(field, str) else _value(provider, key, field)
        for key, field in provider.settings.items()
    }


def _value(provider: StorageConnection, key: str, field: SecretField) -> str:
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
        raise ExplainedError(
            f"The secret {name} ({where}) is a JSON object without a string {shape!r}",
            advice="Store the plain value, or an object with this member.",
            kind=ErrorKind.SECRET_UNAVAILABLE,
        )
    value = value.strip("\r\n")  # what an editor or `echo` puts at the end
    is_text = value.isprintable() and (value.isascii() or key in ("login", "password"))
    if not value or not is_text:
        raise ExplainedError(
            f"The secret {name} ({where}) is empty, or contains characters that are invalid in {key}",
            advice="Store only the credential, in one line.",
            kind=ErrorKind.SECRET_UNAVAILABLE,
        )
    return value


def _name_of(provider: StorageConnection, field: SecretField) -> str:
    name = field.secret or os.environ.get(STACK_SECRET)
    if not name:
        raise ExplainedError(
            f"The secrets of the storage provider {provider.name} are stored in the stack's secret, but "
            f"{STACK_SECRET} is not set",
            advice="Deploy the function again.",
            kind=ErrorKind.MISCONFIGURED,
        )
    return name
