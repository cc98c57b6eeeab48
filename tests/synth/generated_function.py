"""One function of a generated document, with all its settings but inputs and outputs."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fdl_schemas.fargate import OFFERED
from fdl_schemas.names import container_variable_problem
from tests.synth.generated_values import (
    ACCOUNTS,
    BUCKETS,
    IMAGES,
    LONG_IDS,
    RETENTIONS,
    TEXTS,
    WORDS,
    job_variable_problem,
    lambda_variable_problem,
    numbers,
    rarely,
    role_arns,
    security_groups,
    some_of,
    subnets,
    variables,
)

_DEFAULT_TIMEOUT, _DEFAULT_THRESHOLD, _SHORTEST_JOB = 300, 10, 60
_LOG_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


@st.composite
def _batch_on_instances(draw: st.DrawFn, architecture: str, least_timeout: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(["EC2", "SPOT"]))
    gpu = draw(st.booleans())
    types = {"x86_64": ["g4dn", "optimal"], "arm64": ["g5g.xlarge", "m7g", "default_arm64"]}[architecture]
    resources = some_of(
        {
            "min_v_cpus": numbers(0, 200),
            "desired_v_cpus": numbers(200, 1000),
            "instance_types": st.just(types),
            "instance_role": st.sampled_from(
                ["ecsInstanceRole", "arn:aws:iam::123456789012:instance-profile/a"]
            ),
            "launch_template_name": st.just("template"),
        },
        type=st.just(kind),
        max_v_cpus=numbers(1000, 100_000),
    )
    settings: dict[str, Any] = draw(
        some_of(
            {
                "vcpus": numbers(1, 64),
                "memory": numbers(4, 100_000),
                "timeout": numbers(least_timeout, 1209600),
                "attempts": numbers(1, 10),
                "retry": st.just([{"memory": 200_000}, {"vcpus": 96}]),
                "environment": variables(job_variable_problem),
            },
            enable_gpu=st.just(gpu),
            compute_resources=resources,
        )
    )
    if kind == "EC2" and draw(st.booleans()):
        settings["multi_node_parallel"] = {"enabled": True, "number_nodes": draw(numbers(1, 10))}
    return settings


@st.composite
def _batch(draw: st.DrawFn, architecture: str, least_timeout: int) -> dict[str, Any]:
    if draw(st.integers(0, 3)) == 0:
        return draw(_batch_on_instances(architecture, least_timeout))
    vcpus = draw(st.sampled_from(sorted(OFFERED)))
    size: dict[str, Any] = draw(
        st.sampled_from(
            [
                {},
                {"vcpus": vcpus},
                {"vcpus": vcpus, "memory": OFFERED[vcpus][0]},
                {"vcpus": vcpus, "memory": OFFERED[vcpus][-1]},
                {"memory": OFFERED[vcpus][-1]},
            ]
        )
    )
    most = draw(numbers(16, 100_000))
    own_place = draw(st.booleans())
    resources = some_of(
        {
            "type": st.sampled_from(["FARGATE", "FARGATE_SPOT"]),
            "min_v_cpus": numbers(0, most),
            "desired_v_cpus": numbers(0, most),
            "instance_types": st.just(["m5.large", "optimal"]),
            "instance_role": st.just("ecsInstanceRole"),
            "launch_template_name": st.just("template"),
        },
        max_v_cpus=st.just(most),
        **({"subnets": subnets(), "security_group_ids": security_groups()} if own_place else {}),
    )
    settings: dict[str, Any] = draw(
        some_of(
            {
                "timeout": numbers(least_timeout, 1209600),
                "attempts": numbers(1, 10),
                "enable_gpu": st.just(False),
                "retry": st.sampled_from([[{"memory": 122880}], [{"vcpus": 16, "timeout": 1209600}]]),
                "ephemeral_storage": numbers(21, 200),
                "service_role": st.one_of(role_arns(), st.just("")),
                "environment": variables(job_variable_problem),
                "state": st.sampled_from(["ENABLED", "DISABLED"]),
                "type": st.just("MANAGED"),
                "multi_node_parallel": st.just({"enabled": False, "number_nodes": 3, "main_node_index": 2}),
                "compute_resources": resources,
                "region": st.just("eu-west-1"),
                "boto_profile": st.just("default"),
            }
        )
    )
    return settings | size


@st.composite
def _container(draw: st.DrawFn, threshold: int | None) -> dict[str, Any]:
    from_file = draw(st.integers(0, 3)) == 0
    container: dict[str, Any] = draw(
        some_of(
            {
                "alpine": st.booleans(),
                "create_image": st.just(True),
                "environment": variables(container_variable_problem, most=6),
                "registry_credentials": st.sampled_from(
                    ["login", "arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf", "a/b@c"]
                ),
            },
            **(
                {"image_file": st.sampled_from(["image.tar", "archive of image"])}
                if from_file
                else {"image": IMAGES}
            ),
        )
    )
    return container if threshold is None else container | {"timeout_threshold": threshold}


def _layers(region: str) -> st.SearchStrategy[list[str]]:
    parts = st.tuples(ACCOUNTS, WORDS, st.integers(1, 999))
    several = st.lists(parts, max_size=4, unique_by=lambda layer: layer[:2])
    return several.map(lambda found: [f"arn:aws:lambda:{region}:{who}:layer:{n}:{v}" for who, n, v in found])


def _lambda_settings() -> dict[str, st.SearchStrategy[Any]]:
    tag_names = st.one_of(WORDS, st.sampled_from(["a b", "team:x/y+z=.@-", "ü", "t" * 128, "createdby"]))
    tag_values = st.one_of(WORDS, st.sampled_from(["", "v" * 256, "日本 x"]))
    few_tags = st.lists(
        st.tuples(tag_names.filter(lambda name: not name.lower().startswith("aws")), tag_values),
        max_size=3,
        unique_by=lambda tag: tag[0].lower(),
    ).map(dict)
    scripts = st.sampled_from(["run.sh", "./run.sh", "scripts/größer 日本.sh"])
    return {
        "description": st.one_of(TEXTS, st.just(""), st.just("d" * 256), st.just("日" * 256)),
        "boto_profile": st.just("default"),
        "memory": numbers(128, 10240),
        "ephemeral_storage": numbers(512, 10240),
        "architectures": st.sampled_from([["x86_64"], ["arm64"]]),
        "runtime": st.sampled_from(["image", "python3.13", "python3.0"]),
        "log_level": st.sampled_from(_LOG_LEVELS),
        "layers": st.just([]),
        "environment": variables(lambda_variable_problem),
        "init_script": scripts,
        "run_script": scripts,
        "extra_payload": st.sampled_from(["models", "models/", "models/weights.bin"]),
        "deployment": some_of(
            {
                "bucket": BUCKETS,
                "max_payload_size": st.integers(0, 10**9),
                "max_s3_payload_size": st.integers(0, 10**9),
            }
        ),
        "supervisor": st.just({"version": "latest"}),
        "reserved_concurrency": numbers(0, 100_000),
        "retry_attempts": st.integers(0, 2),
        "tags": st.one_of(few_tags, st.just({f"tag-{number}": "x" for number in range(48)})),
        "preheat": st.booleans(),
        "asynchronous": st.booleans(),
        "invocation_type": st.sampled_from(["RequestResponse", "Event", "DryRun"]),
        "log_type": st.sampled_from(["None", "Tail"]),
        "payload": st.one_of(TEXTS, st.just({"a": [1, None]}), st.none()),
    }


_LAMBDA = _lambda_settings()
_SERVICES: dict[str, st.SearchStrategy[Any]] = {
    "iam": some_of(
        {"role": st.one_of(role_arns(), st.sampled_from(["", None])), "boto_profile": st.just("x")}
    ),
    "cloudwatch": some_of(
        {"log_retention_policy_in_days": st.sampled_from(RETENTIONS), "region": st.just("eu-west-1")}
    ),
    "api_gateway": some_of(
        {
            "name": st.one_of(TEXTS, st.just("n" * 128)),
            "auth": st.sampled_from(["NONE", "AWS_IAM", "API_KEY"]),
            "region": st.just("eu-west-1"),
        }
    ),
    "s3": st.just({"transfer": 1}),
}


@st.composite
def function_entries(draw: st.DrawFn, name: str, region: str | None) -> dict[str, Any]:
    """One entry of `functions.aws` without its inputs and outputs."""
    mode = draw(st.sampled_from([None, "lambda", "lambda-batch", "batch"]))
    few = draw(st.lists(st.sampled_from(sorted(_LAMBDA)), max_size=8, unique=True))
    settings: dict[str, Any] = {"name": name} | {key: draw(_LAMBDA[key]) for key in few}
    if mode is not None:
        settings["execution_mode"] = mode
    if region is not None:
        settings["region"] = region
    if "layers" in settings:
        settings["layers"] = draw(_layers(region or "us-east-1"))
        if settings["layers"]:
            settings["runtime"] = "python3.13"
    timeout = draw(st.one_of(st.none(), numbers(1, 900)))
    least = _DEFAULT_TIMEOUT if timeout is None else timeout
    given = numbers(0, least - 1)
    threshold = draw(st.one_of(st.none(), given) if least > _DEFAULT_THRESHOLD else given)
    if timeout is not None:
        settings["timeout"] = timeout
    settings["container"] = draw(_container(threshold))
    entry: dict[str, Any] = {"lambda": settings}
    if rarely(draw, 5):
        settings["vpc"] = draw(some_of({}, SubnetIds=subnets(), SecurityGroupIds=security_groups()))
        if draw(st.booleans()):
            arn = f"arn:aws:elasticfilesystem:{region or 'us-east-1'}:123456789012:access-point/fsap-"
            path = draw(st.sampled_from(["/mnt/data", "/mnt/a.b-c_d", "/mnt/" + "m" * 155]))
            settings["file_system"] = [{"Arn": arn + draw(LONG_IDS), "LocalMountPath": path}]
    services = ["iam", "cloudwatch", "api_gateway", "s3"]
    for service in draw(st.lists(st.sampled_from(services), max_size=2, unique=True)):
        entry[service] = draw(_SERVICES[service])
    if mode in ("batch", "lambda-batch") and draw(st.booleans()):
        kept = _DEFAULT_THRESHOLD if threshold is None else threshold
        (architecture,) = settings.get("architectures", ["x86_64"])
        entry["batch"] = draw(_batch(architecture, max(_SHORTEST_JOB, kept + 1)))
    elif rarely(draw, 8):
        entry["batch"] = {"vcpus": 2}
    return entry
