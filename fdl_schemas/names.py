"""Names that belong to others, and what their owners allow: buckets, container images, environment variables.

Each function gives what is wrong with a name in a few words, or None.
"""

from __future__ import annotations

import re
from typing import Final

_IPV4 = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_BUCKET_CHARACTERS = re.compile(r"[a-z0-9.-]*")
_BUCKET_LENGTHS: Final = range(3, 64)
_RESERVED_BUCKET_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_BUCKET_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")

BUCKET_RULE: Final = "3 to 63 lower-case letters, digits, `-` and `.`, with a letter or digit first and last"

# The grammar of github.com/distribution/reference, in pieces, so that a message can say which piece is wrong.
_REGISTRY = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
    r"(?::[0-9]{1,5})?"
)
_REPOSITORY_PART = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_SHA256_DIGITS: Final = 64
_LONGEST_REPOSITORY: Final = 255
_PORTS: Final = range(1, 65536)

IMAGE_RULE: Final = "`[registry/]repository[:tag][@digest]`, such as `grycap/ffmpeg` or `quay.io/me/tool:1.2`"

_LAMBDA_VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+")
_RESERVED_BY_LAMBDA: Final = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
_SET_BY_THE_DEPLOYMENT: Final = frozenset(
    {
        "SCAR_EVENT",
        "SCAR_EVENT_BUCKET",
        "SCAR_EVENT_GZ",
        "SCAR_EVENT_URI",
        "SCAR_FUNCTION_DIR",
        "SCAR_IMAGE_FILE",
        "SCAR_JOB_DEFINITION",
        "SCAR_JOB_QUEUE",
    }
)


def bucket_problem(name: str) -> str | None:  # noqa: PLR0911 - one rule, one line
    """What S3's rules for general purpose buckets have against a name.

    Source: Amazon S3 user guide, "General purpose bucket naming rules".
    """
    if len(name) not in _BUCKET_LENGTHS:
        return f"it has {len(name)} characters"
    if not _BUCKET_CHARACTERS.fullmatch(name):
        return (
            "it has upper-case letters"
            if _BUCKET_CHARACTERS.fullmatch(name.lower())
            else "it has characters that are not allowed"
        )
    if not (name[0].isalnum() and name[-1].isalnum()):
        return "it does not start and end with a letter or digit"
    if ".." in name:
        return "it has two dots in a row"
    if _IPV4.fullmatch(name):
        return "it looks like an IP address"
    for prefix in _RESERVED_BUCKET_PREFIXES:
        if name.startswith(prefix):
            return f"names that start with `{prefix}` are reserved"
    for suffix in _RESERVED_BUCKET_SUFFIXES:
        if name.endswith(suffix):
            return f"names that end with `{suffix}` are reserved"
    return None


def image_problem(reference: str) -> str | None:  # noqa: PLR0911 - one rule, one line
    """What is wrong with the reference of a container image."""
    if "://" in reference:
        return "it is an address, with a `://`"
    if any(character.isspace() for character in reference):
        return "it has a blank"
    rest, at, digest = reference.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        return "what follows the `@` is not a digest"
    if digest.startswith("sha256:") and len(digest) != len("sha256:") + _SHA256_DIGITS:
        return "a SHA-256 digest has 64 hexadecimal digits"
    registry, slash, path = rest.partition("/")
    # As Docker decides it: the first part is a registry if it cannot be a user's name.
    if not (
        slash
        and ("." in registry or ":" in registry or registry == "localhost" or registry != registry.lower())
    ):
        registry, path = "", rest
    if registry and not _REGISTRY.fullmatch(registry):
        return "the registry is not a host name"
    port = registry.rpartition(":")[2]
    if port.isdigit() and int(port) not in _PORTS:
        return "the registry's port is not one from 1 to 65535"
    repository, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        return "what follows the `:` is not a tag"
    if repository != repository.lower():
        return "the repository has upper-case letters"
    if not all(_REPOSITORY_PART.fullmatch(part) for part in repository.split("/")):
        return (
            "the repository has characters that are not allowed" if repository else "it names no repository"
        )
    if len(repository) > _LONGEST_REPOSITORY:
        return f"the repository has more than {_LONGEST_REPOSITORY} characters"
    return None


def function_variable_problem(name: str) -> str | None:
    """What Lambda, or the deployment itself, has against the name of a function's environment variable.

    Source: AWS Lambda API reference, `Environment.Variables`, and developer guide, "Reserved environment
    variables".
    """
    if name in _RESERVED_BY_LAMBDA:
        return "Lambda sets it itself"
    if name in _SET_BY_THE_DEPLOYMENT:
        return "the deployment sets it itself"
    if not _LAMBDA_VARIABLE.fullmatch(name):
        return "Lambda allows two or more letters, digits and `_`, with a letter first"
    return None


def job_variable_problem(name: str) -> str | None:
    """What Batch, or the deployment itself, has against the name of a job's environment variable.

    Source: AWS Batch API reference, `ContainerProperties.environment`.
    """
    if name.startswith("AWS_BATCH"):
        return "names that start with `AWS_BATCH` are reserved by AWS Batch"
    if name == "__proto__":
        return "the CDK, a program in JavaScript, cannot have this name"
    if name in _SET_BY_THE_DEPLOYMENT:
        return "the deployment sets it itself"
    return container_variable_problem(name)


def container_variable_problem(name: str) -> str | None:
    """What the operating system has against the name of an environment variable."""
    if not name:
        return "it is empty"
    if "=" in name:
        return "it holds a `=`"
    if not name.isprintable():
        return "it holds characters that cannot be printed"
    return None
