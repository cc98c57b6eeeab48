"""The login for a registry.

- `container.registry_credentials` names a secret in AWS Secrets Manager whose value is
  `{"username": "…", "password": "…"}`. It is for the registry in `container.image`, and is never sent to a
  mirror.
- Amazon ECR (`ACCOUNT.dkr.ecr.REGION.amazonaws.com`) uses the identity of this process (`containers.asking`),
  which receives a password for twelve hours.

Both are requested only after a registry has answered 401, so that public images need no call to AWS; neither
is kept. No message of this module contains a value.
"""

from __future__ import annotations

import base64
import binascii
import re

from containers.asking import asker
from containers.bounded_json import JsonError, read_json
from containers.errors import ErrorKind, ExplainedError
from containers.registry.client import Credentials

_ECR_HOST = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_SHAPE = '{"username": "…", "password": "…"}'


def credentials_for(secret: str | None) -> Credentials:
    """Returns a function for the login that a registry requires; `secret` is the name or ARN of a secret, if
    the registry is the one that it is for.

    The function raises ExplainedError (`SecretUnavailable`, `ImagePrivate`, `Misconfigured`).
    """

    def login(host: str) -> tuple[str, str] | None:
        if secret:
            return _from_secret(secret)
        ecr = _ECR_HOST.fullmatch(host)
        return _from_ecr(host, ecr[1]) if ecr else None

    return login


def _from_secret(name: str) -> tuple[str, str]:
    from containers.aws_secrets import forget, secret_string

    forget(name)
    text = secret_string(name, "container.registry_credentials")
    try:
        content = read_json(text)
    except JsonError:
        content = None
    members = content if isinstance(content, dict) else {}
    username, password = members.get("username"), members.get("password")
    if not isinstance(username, str) or not isinstance(password, str) or not username or ":" in username:
        raise ExplainedError(
            f"The secret {name} (container.registry_credentials) is not a JSON object {_SHAPE}",
            advice="Store the registry's login in this form.",
            kind=ErrorKind.SECRET_UNAVAILABLE,
        )
    return username, password


def _from_ecr(host: str, region: str) -> tuple[str, str]:
    from botocore.exceptions import BotoCoreError, ClientError

    from containers import aws

    try:
        answer = aws.client("ecr", region).get_authorization_token()
        token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"], validate=True).decode()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise ExplainedError(
            f"Amazon ECR denies {asker().name} a login for {host} ({code})",
            advice="Allow ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer for "
            f"{asker().identity}.",
            kind=ErrorKind.IMAGE_PRIVATE,
        ) from None
    except (BotoCoreError, LookupError, binascii.Error, UnicodeDecodeError) as error:
        raise ExplainedError(
            f"Amazon ECR did not return a login for {host}: {type(error).__name__}",
            advice=f"{asker().later}; {asker().network}.",
            kind=ErrorKind.REGISTRY_UNAVAILABLE,
        ) from None
    username, _, password = token.partition(":")
    return username, password
