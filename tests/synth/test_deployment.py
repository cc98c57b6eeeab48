"""The deployer's context values, and the buckets' real names. No CDK is loaded here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fdl_schemas.model import ApiGateway, Container, Function, StorageEntry, Workflow
from scar_constructs.deployment import (
    CONTEXT_KEYS,
    Deployment,
    DeploymentError,
    stack_name_for,
    with_real_names,
)

TOPIC = "arn:aws:sns:us-east-1:123456789012:alarms"
KEY = "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"


def workflow(*paths: str) -> Workflow:
    parts = [path.partition("/") for path in paths]
    entries = tuple(StorageEntry(bucket, folder) for bucket, _, folder in parts)
    function = Function(
        name="f", container=Container(image="alpine"), inputs=entries[:1], outputs=entries[1:]
    )
    return Workflow(source=Path("/x/w.yaml"), functions=(function,))


def test_defaults_keep_everything() -> None:
    found = Deployment.from_context(
        {"fdl": "examples/darknet.yaml", "@aws-cdk/aws-iam:minimizePolicies": True}
    )
    assert found == Deployment(fdl=Path("examples/darknet.yaml"), stack_name="darknet")


def test_readme_tells_every_key() -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    assert [key for key in CONTEXT_KEYS if f"| `{key}=" not in readme] == []


def test_all_keys_are_read() -> None:
    found = Deployment.from_context(
        {
            "fdl": "w.yaml",
            "stack": "My-Stack",
            "stage": "dev",
            "bucket_suffix": "prod-7",
            "existing_buckets": "one, two,,one",
            "bucket_keys": f"one={KEY}",
            "removal": "destroy",
            "registry_mirrors": "docker.io=https://mirror.example.org/hub, ghcr.io=file:///images",
            "dashboard": "true",
            "alarm_topic": TOPIC,
        }
    )
    assert found.stack_name == "My-Stack-dev"
    assert found.stage == "dev"
    assert found.bucket_suffix == "prod-7"
    assert found.existing_buckets == ("one", "two")
    assert found.bucket_keys == (("one", KEY),)
    assert found.destroy_buckets
    assert (found.dashboard, found.alarm_email, found.alarm_topic) == (True, None, TOPIC)
    assert found.registry_mirrors == "docker.io=https://mirror.example.org/hub,ghcr.io=file:///images"


def test_lists_of_a_cdk_json_are_taken() -> None:
    found = Deployment.from_context({"fdl": "w.yaml", "existing_buckets": ["one", "two"]})
    assert found.existing_buckets == ("one", "two")


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({}, "add -c fdl=FILE"),
        ({"fdl": ""}, "add -c fdl=FILE"),
        ({"fdl": 7}, "context fdl: expected text"),
        ({"fdl": "w.yaml", "bucket_keys": "one=alias/mine"}, "expected BUCKET=ARN, with the ARN of a key"),
        ({"fdl": "w.yaml", "removal": "keep"}, "expected `retain` or `destroy`"),
        ({"fdl": "w.yaml", "stack": "a_b"}, "-c stack=a_b: expected letters, digits and hyphens"),
        ({"fdl": "w.yaml", "stack": "x" * 129}, "at most 128"),
        ({"fdl": "w.yaml", "bucket_suffix": "Prod"}, "-c bucket_suffix=Prod: expected lowercase"),
        ({"fdl": "w.yaml", "bucket_suffix": "-a"}, "starting and ending with a letter or digit"),
        ({"fdl": "w.yaml", "stage": "Feature/X"}, "-c stage=Feature/X: expected lowercase letters"),
        ({"fdl": "w.yaml", "stage": "dev-"}, "starting and ending with a letter or digit"),
        ({"fdl": "w.yaml", "stage": 3}, "context stage: expected text"),
        ({"fdl": "w.yaml", "stack": "x" * 126, "stage": "dev"}, "is 130 characters long; the maximum is 128"),
        ({"fdl": "w.yaml", "existing_buckets": "a/b"}, "names of S3 buckets"),
        ({"fdl": "w.yaml", "existing_buckets": 3}, "context existing_buckets: expected text"),
        ({"fdl": "w.yaml", "registry_mirrors": "docker.io"}, "expected REGISTRY=BASE"),
        ({"fdl": "w.yaml", "registry_mirrors": "docker.io=ftp://x"}, "expected REGISTRY=BASE"),
        ({"fdl": "w.yaml", "dashboard": "yes"}, "-c dashboard=yes: expected `true` or `false`"),
        ({"fdl": "w.yaml", "alarm_email": "team"}, "-c alarm_email=team: expected one e-mail address"),
        ({"fdl": "w.yaml", "alarm_email": "a@x.org,b@x.org"}, "expected one e-mail address, such as"),
        ({"fdl": "w.yaml", "alarm_email": "a b@x.org"}, "expected one e-mail address"),
        ({"fdl": "w.yaml", "alarm_email": "a@localhost"}, "expected one e-mail address"),
        ({"fdl": "w.yaml", "alarm_topic": "alarms"}, "-c alarm_topic=alarms: expected the ARN of a standard"),
        ({"fdl": "w.yaml", "alarm_topic": f"{TOPIC}.fifo"}, "expected the ARN of a standard topic"),
        ({"fdl": "w.yaml", "alarm_topic": TOPIC, "alarm_email": "a@x.org"}, "alarm_topic is also set"),
        ({"fdl": "w.yaml", "alarm_mail": "a@x.org"}, "did you mean alarm_email?"),
        ({"fdl": "w.yaml", "bucket_sufix": "x"}, "did you mean bucket_suffix?"),
        ({"fdl": "w.yaml", "existing-buckets": "x"}, "did you mean existing_buckets?"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_clear_line(context: dict[str, object], words: str) -> None:
    with pytest.raises(DeploymentError) as caught:
        Deployment.from_context(context)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("scar-video-process", "scar-video-process"),
        ("my_workflow v2", "my-workflow-v2"),
        ("2nd", "scar-2nd"),
        ("été", "t"),
        ("___", "scar"),
        ("a" * 200, "a" * 128),
    ],
)
def test_stack_name_comes_from_the_file_name(stem: str, name: str) -> None:
    assert stack_name_for(stem) == name


def test_suffix_is_applied_to_every_entry() -> None:
    (function,) = with_real_names(workflow("a/in", "a/out", "b"), bucket_suffix="x").functions
    assert [str(entry) for entry in (*function.inputs, *function.outputs)] == ["a-x/in", "a-x/out", "b-x"]


def test_a_bucket_that_exists_may_be_named_with_or_without_the_suffix() -> None:
    named = with_real_names(workflow("a/in", "b"), bucket_suffix="x", existing_buckets=["a", "b-x"])
    assert named.buckets == ("a", "b-x")


def test_an_unused_existing_bucket_is_refused_with_the_buckets_that_are_used() -> None:
    with pytest.raises(DeploymentError, match=r"other not used by w\.yaml; its buckets are a-x, b-x"):
        with_real_names(workflow("a/in", "b"), bucket_suffix="x", existing_buckets=["other"])


def test_keys_are_found_by_both_names_of_a_bucket() -> None:
    staging = replace(workflow("a/in", "b").functions[0], deployment_bucket="images")
    found = Deployment(
        Path("w.yaml"),
        "w",
        bucket_suffix="x",
        existing_buckets=("a",),
        bucket_keys=(("a", KEY), ("b-x", KEY), ("images", KEY)),
    ).keys_of_buckets(replace(workflow("a/in", "b"), functions=(staging,)))
    assert found == {"a": KEY, "b-x": KEY, "images": KEY}


def test_the_key_of_a_bucket_that_is_not_used_is_refused() -> None:
    deployment = Deployment(Path("w.yaml"), "w", bucket_keys=(("other", KEY),))
    with pytest.raises(
        DeploymentError, match=r"-c bucket_keys: other not used by w\.yaml; its buckets are a"
    ):
        deployment.keys_of_buckets(workflow("a/in"))


def test_a_suffix_that_makes_a_name_too_long_is_refused() -> None:
    with pytest.raises(DeploymentError, match="is 66 characters long; the maximum is 63"):
        with_real_names(workflow("a" * 60 + "/in"), bucket_suffix="12345")


def test_a_stage_is_the_last_part_of_every_name() -> None:
    plain = workflow("a/in", "a/out", "kept")
    (definition,) = plain.functions
    theirs = StorageEntry("theirs", "in", topic_arn="arn:aws:sns:us-east-1:123456789012:topic")
    elsewhere = StorageEntry("lab", "out", provider="minio.lab")
    definition = replace(
        definition,
        inputs=(*definition.inputs, theirs),
        outputs=(*definition.outputs, elsewhere),
        api_gateway=ApiGateway("api"),
        deployment_bucket="a",
    )
    found = with_real_names(
        replace(plain, functions=(definition,)), stage="dev", bucket_suffix="x", existing_buckets=["kept"]
    )
    (function,) = found.functions
    assert (found.stage, function.name) == ("dev", "f-dev")
    assert function.api_gateway == ApiGateway("api-dev")
    assert list(map(str, function.inputs)) == ["a-x-dev/in", "theirs/in"]
    assert list(map(str, function.outputs)) == ["a-x-dev/out", "kept", "lab/out"]
    assert function.deployment_bucket == "a-x-dev"


def test_the_stack_of_a_stage_has_a_name_of_its_own() -> None:
    assert Deployment.from_context({"fdl": "w.yaml", "stage": "dev"}).stack_name == "w-dev"


def test_a_stage_that_makes_a_name_too_long_is_refused() -> None:
    long = workflow("a/in")
    long = replace(long, functions=(replace(long.functions[0], name="f" * 62),))
    with pytest.raises(DeploymentError, match=r"-c stage=dev: function name f+-dev is 66 .* maximum is 64"):
        with_real_names(long, stage="dev")
    with pytest.raises(DeploymentError, match=r"-c stage=dev: bucket name a+-dev is 64 .* maximum is 63"):
        with_real_names(workflow("a" * 60 + "/in"), stage="dev")


def test_two_buckets_never_get_one_name() -> None:
    with pytest.raises(DeploymentError, match=r"two buckets of w\.yaml would both be named a-dev"):
        with_real_names(workflow("a/in", "a-dev/out"), stage="dev", existing_buckets=["a-dev"])
