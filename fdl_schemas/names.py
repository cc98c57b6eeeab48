"""Naming rules of S3, container registries, Lambda and Batch.

Each function returns a few words about what is wrong with a name, or None.
"""

from __future__ import annotations

import re
from typing import Final

_IPV4 = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_BUCKET_CHARACTERS = re.compile(r"[a-z0-9.-]*")
_BUCKET_LENGTHS: Final = range(3, 64)
_RESERVED_BUCKET_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_BUCKET_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")

BUCKET_RULE: Final = (
    "3 to 63 lowercase letters, digits, `-` and `.`, starting and ending with a letter or digit"
)

# The grammar of github.com/distribution/reference, in parts, so that a message can name the wrong part.
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_REPOSITORY_PART = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_SHA256_DIGITS: Final = 64
_LONGEST_REPOSITORY: Final = 255
_PORTS: Final = range(1, 65536)

_AROUND_AN_IMAGE = re.compile(
    r"docker +(pull|run) +(-\S+ +)*|(docker|https?)://(hub\.docker\.com/(r|_)/)?", re.IGNORECASE
)

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
    """How a name violates S3's rules for general purpose buckets.

    Source: Amazon S3 user guide, "General purpose bucket naming rules".
    """
    if len(name) not in _BUCKET_LENGTHS:
        return f"it is {len(name)} characters long"
    if not _BUCKET_CHARACTERS.fullmatch(name):
        wrong = next((letter for letter in name.lower() if not _BUCKET_CHARACTERS.fullmatch(letter)), None)
        return "it contains uppercase letters" if wrong is None else f"it contains {_named(wrong)}"
    if not (name[0].isalnum() and name[-1].isalnum()):
        return "it does not start and end with a letter or digit"
    if ".." in name:
        return "it contains two dots in a row"
    if _IPV4.fullmatch(name):
        return "it looks like an IP address"
    for prefix in _RESERVED_BUCKET_PREFIXES:
        if name.startswith(prefix):
            return f"names that start with `{prefix}` are reserved"
    for suffix in _RESERVED_BUCKET_SUFFIXES:
        if name.endswith(suffix):
            return f"names that end with `{suffix}` are reserved"
    return None


def similar_bucket(name: str) -> str | None:
    """A valid bucket name that is close to an invalid one, or None."""
    similar = re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.")
    return similar if bucket_problem(similar) is None else None


def image_problem(reference: str) -> str | None:  # noqa: PLR0911 - one rule, one line
    """What is wrong with the name of a container image."""
    if "://" in reference:
        return "it is a URL"
    if any(character.isspace() for character in reference):
        return "it contains a space"
    rest, at, digest = reference.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        return "the text after `@` is not a digest"
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
        return "the registry's port is not a number from 1 to 65535"
    repository, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        return f"`{tag[:40]}` is not a valid tag" if tag else "the tag after the `:` is missing"
    if repository != repository.lower():
        return "the repository contains uppercase letters"
    if not all(_REPOSITORY_PART.fullmatch(part) for part in repository.split("/")):
        return (
            "the repository contains characters that are not allowed"
            if repository
            else "the repository is missing"
        )
    if len(repository) > _LONGEST_REPOSITORY:
        return f"the repository is longer than {_LONGEST_REPOSITORY} characters"
    return None


def similar_image(reference: str) -> str | None:
    """A valid image name inside an invalid one, such as the one of a `docker pull` command, or None."""
    name, colon, tag = _AROUND_AN_IMAGE.sub("", reference.strip()[:_LONGEST_REPOSITORY]).rpartition(":")
    similar = f"{name.lower()}:{tag}" if colon and "/" not in tag else f"{name}{colon}{tag}".lower()
    return similar if image_problem(similar) is None else None


def _named(character: str) -> str:
    return (
        "a space"
        if character == " "
        else f"`{character}`"
        if character.isprintable()
        else "invisible characters"
    )


def function_variable_problem(name: str) -> str | None:
    """Why a function's environment variable cannot have this name in Lambda or in this project.

    Source: AWS Lambda API reference, `Environment.Variables`, and developer guide, "Reserved environment
    variables".
    """
    if name in _RESERVED_BY_LAMBDA:
        return "it is reserved by Lambda"
    if name in _SET_BY_THE_DEPLOYMENT:
        return "it is set by the deployment"
    if not _LAMBDA_VARIABLE.fullmatch(name):
        return "Lambda requires two or more letters, digits and `_`, starting with a letter"
    return None


def job_variable_problem(name: str) -> str | None:
    """Why a job's environment variable cannot have this name in Batch or in this project.

    Source: AWS Batch API reference, `ContainerProperties.environment`.
    """
    if name.startswith("AWS_BATCH"):
        return "names that start with `AWS_BATCH` are reserved by AWS Batch"
    if name == "__proto__":
        return "the CDK, which runs on JavaScript, cannot use it"
    if name in _SET_BY_THE_DEPLOYMENT:
        return "it is set by the deployment"
    return container_variable_problem(name)


def container_variable_problem(name: str) -> str | None:
    """Why the operating system rejects the name of an environment variable."""
    if not name:
        return "it is empty"
    if "=" in name:
        return "it contains `=`"
    if not name.isprintable():
        return "it contains characters that cannot be printed"
    return None
