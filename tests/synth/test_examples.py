"""Every folder of examples/ is valid, synthesizes without a word, and has in its template what it shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fdl_schemas.load import check
from scar_constructs.functions.provider_settings import with_environment_values
from tests import examples
from tests.examples import EXAMPLES, REPOSITORY, VARIABLES
from tests.linting import lint
from tests.synth.synthesized import Synthesize, Synthesized

Example = Callable[[str], Synthesized]


@pytest.fixture(scope="module")
def example(synthesize: Synthesize, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """The template of an example, by its folder's name."""

    @cache
    def run(name: str) -> Synthesized:
        folder = examples.copied(name, tmp_path_factory.mktemp("example"))
        checked = check(examples.fdl_of(folder))
        assert checked.workflow is not None, [diagnostic.render() for diagnostic in checked.diagnostics]
        assert checked.diagnostics == ()
        return synthesize(with_environment_values(checked.workflow, VARIABLES))

    return run


@pytest.mark.parametrize("name", examples.names())
def test_example_is_valid_and_synthesizes_without_findings(name: str, example: Example) -> None:
    synthesized = example(name)
    assert synthesized.said() == []
    assert synthesized.findings() == []
    assert lint(synthesized.folder / "workflow.template.json") == []


@pytest.mark.parametrize("name", examples.names())
def test_example_deploys_in_moto_with_policies_without_findings(name: str, example: Example) -> None:
    assert example(name).second_opinion() == []


@pytest.mark.parametrize("name", examples.names())
def test_example_tells_how_to_run_it_and_its_scripts_can_be_run(name: str) -> None:
    folder = EXAMPLES / name
    file = examples.fdl_of(folder)
    readme = (folder / "README.md").read_text()
    assert f"cdk deploy -c fdl={file.relative_to(REPOSITORY)}" in readme
    assert f"]({name}/" in (EXAMPLES / "README.md").read_text()
    for script in folder.glob("*.sh"):
        assert os.access(script, os.X_OK)
        subprocess.run(["sh", "-n", str(script)], check=True)


@pytest.mark.parametrize("name", [name for name in examples.names() if name != "video-process"])
def test_editors_find_the_schema_by_the_first_line(name: str) -> None:
    """The workflow of `video-process` is that of SCAR's documentation, word for word."""
    file = examples.fdl_of(EXAMPLES / name)
    with file.open() as lines:
        modeline = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)\n", lines.readline())
    assert modeline is not None
    assert (file.parent / modeline[1]).resolve() == REPOSITORY / "fdl_schemas" / "fdl.schema.json"


def test_table_lists_nothing_that_is_not_there() -> None:
    table = (EXAMPLES / "README.md").read_text()
    listed = sorted(set(re.findall(r"\]\(([\w-]+)/", table)))
    assert listed == sorted([*examples.names(), "own-cdk-app"])  # whose FDL files are in a folder below


def config(synthesized: Synthesized, function: str) -> dict[str, Any]:
    content = json.loads((synthesized.package(function) / "function_config.json").read_text())
    assert isinstance(content, dict)
    return content


def test_filters_reach_notifications_and_runner(example: Example) -> None:
    filters = example("filters")
    (notifications,) = filters.of_type("Custom::S3BucketNotifications").values()
    rules = [
        {rule["Name"]: rule["Value"] for rule in entry["Filter"]["Key"]["FilterRules"]}
        for entry in notifications["NotificationConfiguration"]["LambdaFunctionConfigurations"]
    ]
    assert {"prefix": "by-hand/", "suffix": ".csv"} in rules
    outputs = config(filters, "check-measurements")["outputs"]
    assert [(entry["prefixes"], entry["suffixes"]) for entry in outputs] == [
        (["good-"], []),
        (["bad-"], [".csv", ".tsv"]),
        ([], []),
    ]


def test_shared_input_goes_over_event_bridge(example: Example) -> None:
    shared = example("shared-input")
    assert len(shared.of_type("AWS::Events::Rule")) == 2
    (notifications,) = shared.of_type("Custom::S3BucketNotifications").values()
    assert notifications["NotificationConfiguration"] == {"EventBridgeConfiguration": {}}


def test_secrets_of_providers_are_in_no_template_and_in_no_package(example: Example) -> None:
    several = example("several-providers")
    texts = [
        json.dumps(several.template),
        (several.package("pack-and-report") / "function_config.json").read_text(),
    ]
    for secret in ("access-key-of-the-lab", "secret-key-of-the-lab"):
        assert not any(secret in text for text in texts)
    assert "secret:scar-examples/office-webdav" in texts[0]


def test_http_endpoint_takes_get_and_post(example: Example) -> None:
    endpoint = example("http-endpoint")
    assert endpoint.one("AWS::ApiGateway::RestApi")["Name"] == "checksums"
    methods = {method["HttpMethod"] for method in endpoint.of_type("AWS::ApiGateway::Method").values()}
    assert methods == {"GET", "POST"}


def test_lambda_batch_has_function_and_job(example: Example) -> None:
    both = example("lambda-batch")
    assert both.one("AWS::Lambda::Function", FunctionName="crunch")["Timeout"] == 20
    assert len(both.of_type("AWS::Batch::JobDefinition")) == 1


def test_vpc_and_file_system_are_the_functions(example: Example) -> None:
    function = example("vpc-efs").one("AWS::Lambda::Function", FunctionName="find-proteins")
    assert len(function["VpcConfig"]["SubnetIds"]) == 2
    assert [system["LocalMountPath"] for system in function["FileSystemConfigs"]] == ["/mnt/blast"]


def test_topic_is_subscribed_to_and_its_bucket_is_not_made(example: Example) -> None:
    fed = example("sns-fed")
    subscription = fed.one("AWS::SNS::Subscription")
    assert subscription["TopicArn"] == "arn:aws:sns:us-east-1:123901341784:NewGOES19Object"
    assert [bucket["BucketName"] for bucket in fed.of_type("AWS::S3::Bucket").values()] == ["scar-satellite"]


def test_image_file_is_an_asset_that_the_assembler_finds(example: Example) -> None:
    assert ".tar" in json.dumps(example("image-file").image("shift-letters")["Archive"])
    assert config(example("image-file"), "shift-letters")["init_script"] is None


def test_workflow_is_joined_by_a_folder(example: Example) -> None:
    video = example("video-process")
    assert (
        config(video, "scar-batch-ffmpeg-split")["outputs"] == config(video, "scar-lambda-darknet")["inputs"]
    )


def test_image_of_the_example_is_that_of_its_dockerfile(tmp_path: Path) -> None:
    image = examples.built(EXAMPLES / "image-file" / "image" / "Dockerfile")
    assert image.config["Entrypoint"] == ["/bin/sh", "/usr/local/bin/shift-letters"]
