"""Values from AWS Secrets Manager: read once for each execution environment, and kept in memory only.

No message of this module holds a value.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from containers import aws
from containers.asking import asker
from containers.errors import ErrorKind, ExplainedError

ARN_PARTS = 7
"""arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME"""

_read: dict[tuple[str | None, str], str] = {}


def secret_string(name: str, where: str) -> str:
    """The text of the secret with this name or ARN; `where` is its purpose, for messages. Raises
    `ExplainedError` (`SecretUnavailable`)."""
    from botocore.exceptions import BotoCoreError, ClientError

    key = _cache_key(name)
    if key in _read:
        return _read[key]
    try:
        answer: Mapping[str, object] = aws.client("secretsmanager", _region_of(name)).get_secret_value(
            SecretId=name
        )
    except ClientError as error:
        raise _refused(name, where, str(error.response.get("Error", {}).get("Code", ""))) from None
    except BotoCoreError as error:
        raise ExplainedError(
            f"The secret {name} ({where}) could not be read: {error}",
            advice=f"{asker().later}; {asker().network}.",
            kind=ErrorKind.SECRET_UNAVAILABLE,
        ) from None
    text = answer.get("SecretString")
    if not isinstance(text, str):
        raise ExplainedError(
            f"The secret {name} ({where}) is binary",
            advice="Store it as text.",
            kind=ErrorKind.SECRET_UNAVAILABLE,
        )
    _read[key] = text
    return text


def _region_of(name: str) -> str | None:
    parts = name.split(":")
    return parts[3] or None if len(parts) >= ARN_PARTS and parts[0] == "arn" else None


def _refused(name: str, where: str, code: str) -> ExplainedError:
    if code == "ResourceNotFoundException":
        cause, advice = "does not exist", "Create it in AWS Secrets Manager, or correct its name."
    elif code == "InvalidRequestException":
        cause, advice = "is marked for deletion", "Restore it, or name another one."
    elif code in ("AccessDeniedException", "AccessDenied"):
        cause = f"cannot be read by {asker().name}"
        advice = (
            "Allow secretsmanager:GetSecretValue on it (and kms:Decrypt, with a key of your own) for "
            f"{asker().identity}."
        )
    else:
        cause, advice = f"could not be read ({code})", ""
    return ExplainedError(
        f"The secret {name} ({where}) {cause}", advice=advice, kind=ErrorKind.SECRET_UNAVAILABLE
    )


def forget(name: str) -> None:
    """Have the secret read again when it is needed next."""
    _read.pop(_cache_key(name), None)


def _cache_key(name: str) -> tuple[str | None, str]:
    return aws.own_endpoint(os.environ, "secrets_manager"), name
