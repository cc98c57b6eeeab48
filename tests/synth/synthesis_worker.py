"""Synthesizes and lints FDL files, one a line of standard input, and answers each with a line of JSON.

A process of its own, as the CDK's objects stay in memory until their process ends, and as what the CDK says
on standard error is then a file that can be read.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
_REGION = "us-east-1"
_SAID = ("aws:cdk:warning", "aws:cdk:error", "aws:cdk:info")

# Limits of AWS that the linter does not know.
_EVENT_PATTERN_CHARACTERS = 2048
_TAGS = 50

_RESOURCE_RULE = "E3001"
"""The rule of cfn-lint that looks at each resource, with all the rules that hang on it."""


def main() -> None:
    """Answer until there is nothing more to read."""
    from toolchain.node import choose_node

    choose_node()
    linter = _linter()
    with tempfile.TemporaryDirectory(prefix="scar-generated-") as folder:
        for line in sys.stdin:
            task = json.loads(line)
            try:
                found = list(_findings(Path(task["fdl"]), task["environment"], Path(folder), linter))
            except Exception:
                found = [traceback.format_exc()]
            print(json.dumps(found), flush=True)


def _linter() -> Any:
    from cfnlint.config import ConfigMixIn
    from cfnlint.runner import Runner

    rules = Runner(ConfigMixIn(regions=[_REGION])).rules  # reading them takes longer than using them
    _remember_clean_resources(next(rule for rule in rules.values() if rule.id == _RESOURCE_RULE))
    return rules


def _remember_clean_resources(rule: Any) -> None:
    """Let a resource whose like passed before pass at once: three in four occur in other documents too.

    Alike: the same in every character, and what it names is of the same types. What the linter finds by a
    look at the whole template (names given twice, circles) has rules of its own, which see every resource.
    """
    clean: set[bytes] = set()
    check = rule.validators["patternProperties"]

    def remembering(validator: Any, patterns: Any, resources: Any, schema: Any) -> Iterator[Any]:
        if patterns is not rule.schema["patternProperties"]:  # deeper down
            yield from check(validator, patterns, resources, schema)
            return
        for name, resource in resources.items():
            likeness = _likeness(resource, resources)
            if likeness in clean:
                continue
            found = list(check(validator, patterns, {name: resource}, schema))
            if all(_goes_unsaid(error, resource) for error in found):
                clean.add(likeness)
            yield from found

    rule.validators["patternProperties"] = remembering


def _goes_unsaid(error: Any, resource: Any) -> bool:
    """Whether cfn-lint drops what its rule found: a hint, or what the resource answers in its metadata."""
    if error.rule is None:
        return False
    config = resource.get("Metadata", {}).get("cfn-lint", {}).get("config", {})
    return error.rule.severity == "informational" or error.rule.id in config.get("ignore_checks", ())


def _likeness(resource: Any, resources: dict[str, Any]) -> bytes:
    text = json.dumps(resource, sort_keys=True)
    # Logical ids are letters and digits, and are named as texts of their own or inside of Fn::Sub.
    types = {word: resources[word]["Type"] for word in re.findall("[A-Za-z0-9]+", text) if word in resources}
    return hashlib.sha256(json.dumps([text, types], sort_keys=True).encode()).digest()


def _findings(fdl: Path, environment: dict[str, str], folder: Path, linter: Any) -> Iterator[str]:
    from aws_cdk import App

    from fdl_schemas.load import load_workflow
    from scar_constructs.app import feature_flags
    from scar_constructs.deployment import Deployment
    from scar_constructs.functions.provider_settings import with_environment_values
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
    add_stacks(app, workflow, Deployment(fdl=fdl, stack_name="workflow"), _REGION)
    app.synth()
    yield from _said(folder)
    functions: list[object] = []
    for template in sorted(folder.glob("*.template.json")):
        yield from _lint(template, linter)
        content = json.loads(template.read_text())
        yield from _over_a_limit(content)
        functions += [
            resource["Properties"]["FunctionName"]
            for resource in content["Resources"].values()
            if resource["Type"] == "AWS::Lambda::Function" and "FunctionName" in resource["Properties"]
        ]
    if sorted(map(str, functions)) != sorted(function.name for function in workflow.functions):
        yield f"functions of the templates: {functions}"


def _lint(template: Path, linter: Any) -> Iterator[str]:
    from cfnlint.config import ConfigMixIn
    from cfnlint.runner import run_template_by_file_path

    config = ConfigMixIn(regions=[_REGION])
    for match in run_template_by_file_path(str(template), config, linter, False):
        yield f"cfn-lint {match.rule.id}: {match.message} at {'/'.join(map(str, match.path or ()))}"


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
