"""Synthesizes and lints FDL files, one a line of standard input, and answers each with a line of JSON.

A process of its own, as the CDK's objects stay in memory until their process ends, and as what the CDK says
on standard error is then a file that can be read.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.linting import REGION, lint
from tests.synth.moto_deployment import problems

REPOSITORY = Path(__file__).resolve().parents[2]
_SAID = ("aws:cdk:warning", "aws:cdk:error", "aws:cdk:info")

# Limits of AWS that the linter does not know.
_EVENT_PATTERN_CHARACTERS = 2048
_TAGS = 50

_ANY_REGION = "unknown-region"
"""Of a stack whose functions name none."""
_OTHER_PARTITIONS = ("us-gov-", "cn-")
"""Of regions where the ARNs in generated documents do not exist."""


def main() -> None:
    """Answer until there is nothing more to read."""
    from toolchain.node import choose_node

    choose_node()
    with tempfile.TemporaryDirectory(prefix="scar-generated-") as folder:
        for line in sys.stdin:
            task = json.loads(line)
            try:
                found = list(findings(Path(task["fdl"]), task["environment"], Path(folder)))
            except Exception:
                found = [traceback.format_exc()]
            print(json.dumps(found), flush=True)


def findings(fdl: Path, environment: dict[str, str], folder: Path) -> Iterator[str]:
    """What linters and the CDK say of the templates of an FDL file, which are written to `folder`."""
    from aws_cdk import App

    from fdl_schemas.load import load_workflow
    from scar_constructs.app import feature_flags
    from scar_constructs.deployment import Deployment
    from scar_constructs.functions.provider_settings import with_environment_values
    from scar_constructs.regions import split_by_region
    from scar_constructs.resource_counts import resources_of, shared_resources
    from scar_constructs.workflow_stack import add_stacks

    for file in folder.glob("*.json"):
        file.unlink()  # the assets stay: staging the runner takes longer than all the rest
    workflow = with_environment_values(load_workflow(fdl), environment)
    app = App(
        outdir=str(folder),
        context=feature_flags(),
        analytics_reporting=False,
        builtin_cloud_formation_validation=False,  # cfn-lint checks more
    )
    deployment = Deployment(fdl=fdl, stack_name="workflow", dashboard=True, alarm_email="team@example.org")
    add_stacks(app, workflow, deployment, REGION)
    assembly = app.synth()
    yield from _said(folder)
    functions: list[object] = []
    resources = 0
    for template in sorted(folder.glob("*.template.json")):
        yield from (f"cfn-lint {found}" for found in lint(template))
        content = json.loads(template.read_text())
        yield from _over_a_limit(content)
        resources += len(content["Resources"])
        functions += [
            resource["Properties"]["FunctionName"]
            for resource in content["Resources"].values()
            if resource["Type"] == "AWS::Lambda::Function" and "FunctionName" in resource["Properties"]
        ]
    if sorted(map(str, functions)) != sorted(function.name for function in workflow.functions):
        yield f"functions of the templates: {functions}"
    counted = sum(
        shared_resources(part.workflow, alarms=True, dashboard=True)
        + sum(resources_of(one, distributed_launch=False, alarms=True) for one in part.workflow.functions)
        for part in split_by_region(workflow, REGION)
    )
    if resources > counted:
        yield f"{resources} resources, and only {counted} were counted"
    for stack in assembly.stacks:
        region = stack.environment.region
        if not region.startswith(_OTHER_PARTITIONS):
            yield from problems(folder / stack.template_file, REGION if region == _ANY_REGION else region)


def _said(folder: Path) -> Iterator[str]:
    for metadata in sorted(folder.glob("*.metadata.json")):
        for path, entries in json.loads(metadata.read_text()).items():
            for entry in entries:
                if entry["type"] in _SAID:
                    yield f"the CDK says of {path}: {entry}"


def _over_a_limit(template: dict[str, Any]) -> Iterator[str]:
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        pattern = properties.get("EventPattern")
        if pattern and len(json.dumps(pattern, ensure_ascii=False)) > _EVENT_PATTERN_CHARACTERS:
            yield f"{name}: the event pattern is too long"
        tags = properties.get("Tags", ())
        if isinstance(tags, list):
            keys = [tag["Key"] for tag in tags]
            if len(keys) > _TAGS:
                yield f"{name}: {len(keys)} tags"
            if len({key.lower() for key in keys}) < len(keys):
                yield f"{name}: tags that differ in case alone, which AWS IAM takes for the same: {keys}"


if __name__ == "__main__":
    main()
