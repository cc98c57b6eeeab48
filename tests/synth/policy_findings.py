"""Findings of parliament and cloudsplaining, two linters for IAM policies, except those accepted here."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import Any

_NETWORK_INTERFACES = r"ec2:((Create|Delete)NetworkInterface|(A|Una)ssignPrivateIpAddresses)"
ACCEPTED = {
    r"cloudsplaining CredentialsExposure: ecr:GetAuthorizationToken": (
        "The login to ECR. It has no resources, and pulls only what other statements allow."
    ),
    rf"parliament RESOURCE_STAR: {_NETWORK_INTERFACES}": (
        "Lambda creates the network interfaces of a function in a VPC with the function's role. AWS "
        "documents these actions without resources. Another statement denies them to the function's own code."
    ),
    rf"cloudsplaining InfrastructureModification: {_NETWORK_INTERFACES}": "As above.",
    r"parliament UNKNOWN_CONDITION_FOR_ACTION: Unknown condition lambda:SourceFunctionArn .*": (
        "The condition of that denial is documented in Lambda's guide to VPCs, not in the reference of EC2."
    ),
    r"parliament MISMATCHED_TYPE_BUT_USABLE: .* StringEquals requires a value of type String but given Arn": (
        "EFS documents `elasticfilesystem:AccessPointArn` with StringEquals."
    ),
    r"parliament RESOURCE_MISMATCH: batch:SubmitJob needs arn:\*:batch:\*:\*:job/\*": (
        "Only jobs with tags need permission for a job."
    ),
    r"parliament RESOURCE_MISMATCH: batch:SubmitJob needs arn:\*:batch:\*:\*:job-definition/\*": (
        "The resource is a revision, `job-definition/NAME:1`, which parliament does not accept here."
    ),
    r"parliament RESOURCE_MISMATCH: states:DescribeExecution needs arn:\*:states:\*:\*:express:.*": (
        "The state machines are not express ones."
    ),
}
"""Pattern of findings → why they are accepted."""


def policy_findings(document: dict[str, Any]) -> list[str]:
    """What the linters find in a policy without intrinsic functions."""
    found = {*_parliament_findings(document), *_cloudsplaining_findings(document)}
    return sorted(one for one in found if not any(re.fullmatch(pattern, one) for pattern in ACCEPTED))


def _parliament_findings(document: dict[str, Any]) -> Iterator[str]:
    # parliament takes colons in the keys of objects for separators of the ARN.
    text = re.sub(
        r"(arn:[^:]*:s3:::)([^\"]*)", lambda arn: arn[1] + arn[2].replace(":", "-"), json.dumps(document)
    )
    for found in _parliament().analyze_policy_string(text).findings:
        for detail in found.detail if isinstance(found.detail, list) else [found.detail]:
            if isinstance(detail, dict):
                detail = f"{detail['action']} needs {detail['required_format']}"  # noqa: PLW2901
            yield f"parliament {found.issue}: {detail}"


def _cloudsplaining_findings(document: dict[str, Any]) -> Iterator[str]:
    from cloudsplaining.command.scan_policy_file import scan_policy

    for risk, found in scan_policy(document).items():
        if isinstance(found, dict):
            yield from (f"cloudsplaining {risk}: {finding}" for finding in found.get("findings", ()))


@cache
def _parliament() -> Any:
    """The package. It imports `pkg_resources`, which setuptools no longer contains, for one function."""
    replacement = ModuleType("pkg_resources")
    vars(replacement)["resource_filename"] = lambda package, name: str(files(package) / name)
    sys.modules.setdefault("pkg_resources", replacement)
    import parliament

    return parliament
