"""FDL files as constructs of the AWS CDK.

    from scar_constructs import ScarWorkflow

Public API: `ScarWorkflow`, and the errors that it raises, `FdlError`, `DeploymentError` and `DownloadError`.
Incompatible changes to them come with a new major version only, and are listed in CHANGELOG.md. Everything
else in this package is internal and can change at any time.

    scar_workflow.py    `ScarWorkflow`: a workflow in any stack
    workflow_stack.py   the stack of one workflow in one region
    workflow_resources.py  what both of them contain
    workflow_part.py    a nested stack with functions for which these have no room
    parts.py            which functions are in nested stacks
    resource_counts.py  how many resources a workflow needs
    quotas.py           warnings about quotas of AWS that a workflow exceeds
    main_stack.py       the stack that all functions share
    deployment.py       the settings of a deployment (`-c KEY=VALUE`), and the final names
    container_function.py  a function that runs the user's container in AWS Lambda, or delegates to AWS Batch
    regions.py          which functions belong to which region
    construct_names.py  ids of constructs made from users' names
    findings.py         findings of cdk-nag that are accepted, with reasons
    template_checks.py  findings of template linters that are accepted
    app.py              the CDK app
    interpreter.py      finds a Python with the CDK
    functions/          a function: package, runner layer, permissions, network
    images/             images assembled at deployment
    batch/              AWS Batch for a function
    storage/            buckets, folders, notifications, settings of storage providers
    endpoints/          HTTP endpoints
    monitoring/         the dashboard, and alarms
    launch/             the state machines behind `scar-launch --distributed`
    handlers/           the programs behind custom resources; never imported

This package neither calls AWS nor imports the runner, whose files are only copied into assets.

The public names are imported on first use, because `interpreter` must load in a Python without the CDK.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scar_constructs.scar_workflow import DeploymentError, DownloadError, FdlError, ScarWorkflow

__all__ = ["DeploymentError", "DownloadError", "FdlError", "ScarWorkflow"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("scar_constructs.scar_workflow"), name)
