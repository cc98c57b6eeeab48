"""Large workflows: which functions are in nested stacks, and that these contain what one stack would."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from fdl_schemas.load import check
from fdl_schemas.model import BatchJob, Container, ExecutionMode, Function, StorageEntry, Workflow
from scar_cli.deployment.cdk import SynthesizedStack, _stacks
from scar_cli.deployment.changes import compare
from scar_cli.deployment.nested import flattened
from scar_cli.deployment.rights import rights_of
from scar_cli.deployment.template import Names
from scar_constructs import ScarWorkflow
from scar_constructs.deployment import DeploymentError, with_real_names
from scar_constructs.functions.provider_settings import with_environment_values
from scar_constructs.parts import MAIN, parts_of
from scar_constructs.quotas import exceeded_quotas
from scar_constructs.resource_counts import of_each_part, resources_of, shared_resources
from scar_constructs.storage.event_rules import buckets_for_event_bridge
from tests.linting import lint
from tests.synth import everything
from tests.synth.synthesized import Synthesize, Synthesized

QUEUE = "AWS::SQS::Queue"
ALARM, DASHBOARD = "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard"

_OPTIONAL: dict[str, Any] = {"distributed_launch": True, "dashboard": True, "alarm_email": "team@example.org"}

_ASSETS = {"aws:cdk:enable-path-metadata": True, "aws:cdk:enable-asset-metadata": True}
"""As the cdk command sets them."""


def workflow(folder: Path, *names: str, mode: ExecutionMode = ExecutionMode.LAMBDA) -> Workflow:
    functions = (
        Function(
            name=name,
            container=Container(image="alpine"),
            execution_mode=mode,
            batch=None if mode is ExecutionMode.LAMBDA else BatchJob(),
            inputs=(StorageEntry(f"data-{index // 75}", f"in/{name}"),),
            outputs=(StorageEntry("results", name),),
        )
        for index, name in enumerate(names)
    )
    return Workflow(source=folder / "many.yaml", functions=tuple(functions))


def names(count: int, start: int = 0) -> list[str]:
    return [f"f{number}" for number in range(start, start + count)]


def recorded(folder: Path) -> dict[str, int]:
    content: dict[str, int] = json.loads((folder / "many.stacks.json").read_text())["functions"]
    return content


def test_a_small_workflow_is_one_stack_and_has_no_file(tmp_path: Path) -> None:
    assert set(parts_of(workflow(tmp_path, *names(40))).values()) == {MAIN}
    assert list(tmp_path.iterdir()) == []


def test_places_are_recorded_before_the_stack_is_full(tmp_path: Path) -> None:
    assert set(parts_of(workflow(tmp_path, *names(60))).values()) == {MAIN}
    found = parts_of(workflow(tmp_path, "new", *names(60)))
    assert {name: number for name, number in found.items() if number != MAIN} == {"new": 1}
    assert recorded(tmp_path) == found


def test_the_order_of_the_file_decides_first(tmp_path: Path) -> None:
    found = parts_of(workflow(tmp_path, *names(300)))
    assert list(found.values()) == sorted(found.values())
    assert max(Counter(found.values()).values()) <= 45
    assert set(found.values()) == set(range(max(found.values()) + 1))


def test_functions_stay_where_they_are_when_others_are_added_and_removed(tmp_path: Path) -> None:
    first = parts_of(workflow(tmp_path, *names(300)))
    fewer = parts_of(workflow(tmp_path, *names(290, 10)))
    assert fewer == {name: first[name] for name in fewer}
    more = parts_of(workflow(tmp_path, *[f"new{number}" for number in range(30)], *names(290, 10)))
    assert {name: more[name] for name in fewer} == fewer
    assert more["new0"] == MAIN  # where ten have left
    again = parts_of(workflow(tmp_path, *names(300)))
    assert again == first  # those that were removed for a while, too


def test_a_stage_has_the_places_of_the_file(tmp_path: Path) -> None:
    first = parts_of(workflow(tmp_path, *names(100)))
    staged = parts_of(with_real_names(workflow(tmp_path, *names(100)), stage="dev"))
    assert staged == {f"{name}-dev": number for name, number in first.items()}
    assert recorded(tmp_path) == first


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"functions": {"f": -1}}', '{"functions": {"f": "1"}}', '{"functions": 1}', "[" * 9999],
)
def test_a_broken_file_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "many.stacks.json").write_text(content)
    with pytest.raises(DeploymentError, match=r"many.stacks.json cannot be read .*version control"):
        parts_of(workflow(tmp_path, "f"))


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"many.stacks.json cannot be written: No such file"):
        parts_of(workflow(tmp_path / "gone", *names(300)))


def test_too_many_buckets_are_an_error(tmp_path: Path) -> None:
    few = workflow(tmp_path, *names(100))
    buckets = (replace(one, outputs=(StorageEntry(one.name),)) for one in few.functions)
    with pytest.raises(DeploymentError, match=r"many.yaml: its 102 buckets do not fit into one stack"):
        parts_of(replace(few, functions=tuple(buckets)))


def test_quotas_that_a_workflow_exceeds_are_named(tmp_path: Path) -> None:
    def codes(count: int, mode: ExecutionMode) -> list[str]:
        found = workflow(tmp_path, *names(count), mode=mode)
        return [code for code, _text in exceeded_quotas(found, 8, distributed_launch=False)]

    assert codes(300, ExecutionMode.LAMBDA) == []
    assert codes(400, ExecutionMode.LAMBDA) == ["too-many-resources"]
    assert codes(150, ExecutionMode.BATCH) == []
    assert codes(350, ExecutionMode.BATCH) == ["too-many-resources", "too-many-rules", "too-many-roles"]


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    checked = check(everything.write(tmp_path_factory.mktemp("everything")))
    assert checked.workflow is not None
    return with_environment_values(checked.workflow, everything.ENVIRONMENT)


@pytest.fixture(scope="module")
def whole(every: Workflow, synthesize: Synthesize) -> Synthesized:
    """In one stack."""
    return synthesize(every, context=_ASSETS, **_OPTIONAL)


@pytest.fixture(scope="module")
def split(every: Workflow, synthesize: Synthesize) -> Synthesized:
    """Every second function is in one of two nested stacks."""
    places = {one.name: (0, 1, 0, 2)[index % 4] for index, one in enumerate(every.functions)}
    file = every.source.with_name(f"{every.name}.stacks.json")
    file.write_text(json.dumps({"functions": places}))
    try:
        return synthesize(every, context=_ASSETS, **_OPTIONAL)
    finally:
        file.unlink()


def seen(synthesized: Synthesized) -> SynthesizedStack:
    (stack,) = _stacks(synthesized.folder)
    return stack


def test_counts_of_resources_are_not_too_low(every: Workflow, whole: Synthesized) -> None:
    event_bridge = buckets_for_event_bridge(every.functions)
    own: Counter[str] = Counter()
    for identity, resource in whole.template["Resources"].items():
        path = str(resource.get("Metadata", {}).get("aws:cdk:path", identity)).split("/")
        own[path[2] if path[1] == "Functions" else ""] += 1
    for function in every.functions:
        counted = resources_of(function, distributed_launch=True, alarms=True, event_bridge=event_bridge)
        assert own[function.name] <= counted <= own[function.name] + 3, function.name
    shared_alarms = sum(one["Type"] == ALARM for one in whole.template["Resources"].values()) - len(
        every.functions
    )
    # Each function counts one alarm for what it shares.
    assert own[""] - shared_alarms <= shared_resources(every, alarms=True, dashboard=True) - 3
    assert shared_alarms <= len(every.functions) + 3


def test_nested_stacks_are_within_limits(every: Workflow, split: Synthesized) -> None:
    files = sorted(split.folder.glob("*.nested.template.json"))
    assert len(files) == 2
    for file in files:
        template = json.loads(file.read_text())
        assert len(template["Parameters"]) < 20  # none for each function or bucket
        assert len(template["Outputs"]) < 2 * len(every.functions)
        own = [one for one in template["Resources"] if not one.startswith(("Functions", "Monitoring"))]
        assert len(own) <= of_each_part(every)
        functions = [
            one for one in template["Resources"].values() if one.get("Properties", {}).get("FunctionName")
        ]
        monitoring = [one for one in template["Resources"] if one.startswith("Monitoring")]
        extra = of_each_part(every, alarms=True, dashboard=True) - of_each_part(every)
        assert len(monitoring) <= extra + len(functions)
        assert [one["Type"] for one in template["Resources"].values()].count(DASHBOARD) == 1


def test_linters_accept_nested_stacks(split: Synthesized) -> None:
    for file in [split.folder / "workflow.template.json", *split.folder.glob("*.nested.template.json")]:
        assert lint(file, "W3005") == []
    assert split.findings() == []
    assert split.said() == []


def test_a_split_workflow_has_the_resources_and_rights_of_a_whole_one(
    whole: Synthesized, split: Synthesized
) -> None:
    """Except for the assembler and other helpers, of which each nested stack has its own."""

    def of_functions(synthesized: Synthesized) -> tuple[Counter[Any], set[str]]:
        names = Names(seen(synthesized).template)
        kinds = Counter(
            # Functions of a stack share alarms. A permission has the unique name of what it is for.
            (re.sub(r"(?<=workflow)Part\d|\w{8}(?=\.|$)", "", names.of(identity)), resource["Type"])
            for identity, resource in names.resources.items()
            if not names.is_helper(identity) and "Monitoring" not in identity
        )
        rights = {in_order(right) for right in rights_of(names)}
        return kinds, {right for right in rights if "Assembler" not in right and "Provider" not in right}

    def in_order(right: str) -> str:
        """The CDK sorts ARNs by their references."""
        who, on, what = right.rpartition(" on ")
        return who + on + ", ".join(sorted(what.split(", ")))

    resources, rights = of_functions(whole)
    split_resources, split_rights = of_functions(split)
    assert split_resources == resources
    assert split_rights == rights


def test_changes_of_nested_stacks_are_seen(every: Workflow, split: Synthesized) -> None:
    old = seen(split).template
    assert not compare("workflow", "us-east-1", old, old)
    name = every.functions[1].name
    left = {
        identity: resource
        for identity, resource in old["Resources"].items()
        if f"/Functions/{name}/" not in resource.get("Metadata", {}).get("aws:cdk:path", "")
    }
    asked = []

    def messages(identity: str) -> int:
        asked.append(identity)
        return 3

    found = compare("workflow", "us-east-1", old, {**old, "Resources": left}, messages=messages)
    removed = {one.name: one for one in found.resources if one.kind in ("AWS::Lambda::Function", QUEUE)}
    assert removed[name].sign == "-"
    (queue,) = (one for one in removed.values() if one.kind == QUEUE)
    assert queue.name == f"Functions/{name}/FailureQueue/Queue"
    assert re.fullmatch(r"Part1NestedStack\w+/Functions\w+FailureQueue\w+", asked[0])


def test_nested_stacks_contain_nothing_that_functions_share(split: Synthesized) -> None:
    """AWS allows 50 compute environments and 50 job queues in a region, and 5 VPCs."""
    shared = (
        "AWS::Batch::ComputeEnvironment",
        "AWS::Batch::JobQueue",
        "AWS::EC2::VPC",
        "AWS::ECR::Repository",
    )
    for file in split.folder.glob("*.nested.template.json"):
        kinds = {resource["Type"] for resource in json.loads(file.read_text())["Resources"].values()}
        assert not kinds & {
            *shared,
            "AWS::S3::Bucket",
            "AWS::Lambda::LayerVersion",
            "AWS::ApiGateway::Account",
        }


def test_a_construct_in_an_own_app_is_split_too(tmp_path: Path) -> None:
    """Other resources of the app refer to functions in nested stacks as to any other."""
    (tmp_path / "many.yaml").write_text(
        "functions:\n  aws:\n"
        + "".join(
            f"  - lambda: {{name: {name}, container: {{image: alpine}}, "
            f"input: [{{storage_provider: s3, path: data/{name}}}]}}\n"
            for name in ("here", "there")
        )
    )
    (tmp_path / "many.stacks.json").write_text('{"functions": {"here": 0, "there": 1}}')
    app = App(
        outdir=str(tmp_path / "out"), analytics_reporting=False, builtin_cloud_formation_validation=False
    )
    stack = Stack(app, "Media")
    many = ScarWorkflow(stack, "Many", fdl=tmp_path / "many.yaml", udocker_tools="none")
    caller = iam.Role(stack, "Caller", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    many.grant_invoke(caller)
    s3.Bucket(stack, "Own").grant_read(many.functions["there"])
    app.synth()
    main, nested = (
        json.loads(file.read_text())
        for file in (tmp_path / "out" / "Media.template.json", *(tmp_path / "out").glob("*.nested.*.json"))
    )
    (output,) = (key for key in nested["Outputs"] if key.startswith("ScarWorkflow"))
    assert output in main["Outputs"]
    assert "there" in json.dumps(nested["Outputs"][output])
    assert "there" not in json.dumps(main["Outputs"][output])
    names = Names(flattened(main, lambda _identity, _resource: nested))
    rights = set(rights_of(names))
    invoking = {right.partition(" may ")[2] for right in rights if right.startswith("Caller")}
    assert invoking == {f"lambda:InvokeFunction on {name}, {name}:*" for name in ("here", "there")}
