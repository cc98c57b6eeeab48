"""What an FDL file means: the documents that SCAR's own documentation shows, the defaults, and every key."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from fdl_schemas.graph import edges
from fdl_schemas.load import check, load_workflow
from fdl_schemas.model import (
    ApiGateway,
    BatchJob,
    ComputeResources,
    Container,
    ExecutionMode,
    FileSystem,
    Function,
    JobSize,
    MultiNode,
    OscarService,
    QueueSettings,
    RunOptions,
    Setting,
    StorageEntry,
    StorageProvider,
    Vpc,
    Workflow,
)

DARKNET = """\
functions:
  aws:
  - lambda:
      name: scar-darknet-s3
      memory: 2048
      init_script: yolo.sh
      container:
        image: grycap/darknet
      input:
      - storage_provider: s3
        path: scar-darknet/input
      output:
      - storage_provider: s3
        path: scar-darknet/output
"""

VIDEO_PROCESS = """\
functions:
  aws:
  - lambda:
      name: scar-batch-ffmpeg-split
      init_script: split-video.sh
      execution_mode: batch
      container:
        image: grycap/ffmpeg
      input:
      - storage_provider: s3
        path: scar-video/input
      output:
      - storage_provider: s3
        path: scar-video/split-images
  - lambda:
      name: scar-lambda-darknet
      init_script: yolo-sample-object-detection.sh
      memory: 3008
      container:
        image: grycap/darknet
      input:
      - storage_provider: s3
        path: scar-video/split-images
      output:
      - storage_provider: s3
        path: scar-video/output
"""


def load(text: str, folder: Path, name: str = "workflow.yaml", files: tuple[str, ...] = ()) -> Workflow:
    for file in files:
        (folder / file).write_text("#!/bin/sh\n")
    (folder / name).write_text(text)
    return load_workflow(folder / name)


def test_darknet_document_of_the_documentation(tmp_path: Path) -> None:
    workflow = load(DARKNET, tmp_path, "darknet.yaml", ("yolo.sh",))
    assert workflow == Workflow(
        source=tmp_path / "darknet.yaml",
        functions=(
            Function(
                name="scar-darknet-s3",
                memory_mib=2048,
                init_script=tmp_path / "yolo.sh",
                container=Container(image="grycap/darknet"),
                inputs=(StorageEntry("scar-darknet", "input"),),
                outputs=(StorageEntry("scar-darknet", "output"),),
            ),
        ),
    )
    assert workflow.name == "darknet"
    assert edges((*workflow.functions, *workflow.oscar_services)) == ()


def test_video_document_of_the_documentation(tmp_path: Path) -> None:
    scripts = ("split-video.sh", "yolo-sample-object-detection.sh")
    workflow = load(VIDEO_PROCESS, tmp_path, "scar-video-process.yaml", scripts)
    split, detect = workflow.functions
    assert split.execution_mode is ExecutionMode.BATCH
    assert split.batch == BatchJob()
    assert detect.execution_mode is ExecutionMode.LAMBDA
    assert detect.batch is None
    assert detect.memory_mib == 3008
    assert workflow.buckets == ("scar-video",)
    assert edges((*workflow.functions, *workflow.oscar_services)) == (
        ("scar-batch-ffmpeg-split", "scar-lambda-darknet"),
    )
    assert check(tmp_path / "scar-video-process.yaml").diagnostics == ()


@pytest.mark.parametrize(
    ("settings", "size_mib"),
    [
        ("runtime: python3.13", 10240),
        ("runtime: python3.13, execution_mode: lambda-batch", 10240),
        ("runtime: python3.13, ephemeral_storage: 600", 600),
        ("runtime: python3.13, execution_mode: batch", 512),
        ("runtime: image", 512),
    ],
)
def test_tmp_is_large_by_default_where_an_image_is_unpacked(
    settings: str, size_mib: int, tmp_path: Path
) -> None:
    text = f"functions: {{aws: [{{lambda: {{name: f, container: {{image: a}}, {settings}}}}}]}}"
    (function,) = load(text, tmp_path).functions
    assert function.ephemeral_storage_mib == size_mib


def test_defaults_are_those_of_the_reference(tmp_path: Path) -> None:
    workflow = load("functions: {aws: [{lambda: {name: f, container: {image: a}}}]}", tmp_path)
    (function,) = workflow.functions
    assert function == Function(name="f", container=Container(image="a"))
    assert (function.memory_mib, function.timeout_s, function.ephemeral_storage_mib) == (512, 300, 512)
    assert (function.log_level, function.log_retention_days, function.retry_attempts) == ("INFO", 30, 2)
    assert (function.architecture, function.role_arn, function.region) == ("x86_64", None, None)
    assert function.container.timeout_threshold_s == 10
    assert not workflow.allow_loops


def test_batch_defaults_are_a_size_that_fargate_offers(tmp_path: Path) -> None:
    text = "functions: {aws: [{lambda: {name: f, execution_mode: batch, container: {image: a}}}]}"
    job = load(text, tmp_path).functions[0].batch
    assert job == BatchJob(vcpus=1, memory_mib=2048, timeout_s=86400, attempts=2, state="ENABLED")
    assert job.compute_resources == ComputeResources(type="FARGATE", max_v_cpus=2)


def test_batch_environment_grows_with_the_job(tmp_path: Path) -> None:
    text = """
functions:
  aws:
  - lambda: {name: f, execution_mode: batch, container: {image: a}}
    batch: {vcpus: 8}
"""
    job = load(text, tmp_path).functions[0].batch
    assert job is not None
    assert (job.vcpus, job.memory_mib, job.compute_resources.max_v_cpus) == (8, 16384, 8)


def test_certificates_of_storage_providers_are_verified_by_default(tmp_path: Path) -> None:
    text = """
functions: {aws: [{lambda: {name: f, container: {image: a}}}]}
storage_providers:
  minio:
    lab: {endpoint: "https://m", access_key: "${ENV:A}", secret_key: "${ENV:B}"}
"""
    assert [provider.verify for provider in load(text, tmp_path).storage_providers] == [True]


def test_slashes_around_a_path_do_not_count(tmp_path: Path) -> None:
    text = """
functions:
  aws:
  - lambda:
      name: f
      container: {image: a}
      input: [{path: /images/in/}, {path: whole}]
      output: [{path: images/a b/ü, suffix: jpg, prefix: [x-, y-]}]
"""
    (function,) = load(text, tmp_path).functions
    assert function.inputs == (StorageEntry("images", "in"), StorageEntry("whole"))
    assert function.outputs == (StorageEntry("images", "a b/ü", ("x-", "y-"), ("jpg",)),)
    assert [entry.key_prefix for entry in function.inputs] == ["in/", ""]


def test_files_are_looked_up_beside_the_fdl_file_wherever_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "yolo.sh").touch()
    (tmp_path / "flow" / "w.yaml").write_text(DARKNET)
    monkeypatch.chdir(tmp_path)
    workflow = load_workflow("flow/w.yaml")
    assert workflow.functions[0].init_script == tmp_path / "flow" / "yolo.sh"
    assert workflow.source == tmp_path / "flow" / "w.yaml"


def test_anchors_and_merge_keys_share_settings(tmp_path: Path) -> None:
    text = """
functions:
  aws:
  - lambda: &common
      name: one
      memory: 1024
      container: &image {image: a}
  - lambda:
      <<: *common
      name: two
  - lambda: {name: three, container: *image}
"""
    workflow = load(text, tmp_path)
    assert [(one.name, one.memory_mib) for one in workflow.functions] == [
        ("one", 1024),
        ("two", 1024),
        ("three", 512),
    ]


def test_empty_role_means_that_one_is_made(tmp_path: Path) -> None:
    for role in ("''", "", "~"):
        text = f"""
functions:
  aws:
  - lambda: {{name: f, container: {{image: a}}}}
    iam:
      role: {role}
"""
        assert load(text, tmp_path).functions[0].role_arn is None


def test_outputs_of_oscar_services_are_part_of_the_workflow(tmp_path: Path) -> None:
    text = """
functions:
  aws:
  - lambda:
      name: mask-detector
      container: {image: grycap/mask-detector-yolo:mini}
      input: [{path: scar-mask-detector/input}]
  oscar:
  - lab:
      name: anonymize
      memory: 1Gi
      cpu: '1.0'
      image: grycap/blurry-faces
      script: blurry-faces.sh
      input: [{storage_provider: minio, path: faces/input}]
      output:
      - {storage_provider: minio, path: faces/output}
      - {storage_provider: s3.mine, path: scar-mask-detector/input}
storage_providers:
  s3:
    mine: {access_key: "${ENV:ID}", secret_key: "${SECRET:my/key}", region: us-east-1}
"""
    workflow = load(text, tmp_path)
    assert edges((*workflow.functions, *workflow.oscar_services)) == (("anonymize", "mask-detector"),)
    assert workflow.buckets == ("scar-mask-detector",)
    assert workflow.oscar_services == (
        OscarService(
            cluster="lab",
            name="anonymize",
            image="grycap/blurry-faces",
            memory="1Gi",
            cpu="1.0",
            script="blurry-faces.sh",
            inputs=(StorageEntry("faces", "input", provider="minio"),),
            outputs=(
                StorageEntry("faces", "output", provider="minio"),
                StorageEntry("scar-mask-detector", "input", provider="s3.mine"),
            ),
        ),
    )
    assert workflow.storage_providers[0].settings == {
        "access_key": Setting("ID", "environment"),
        "secret_key": Setting("my/key", "secret"),
        "region": Setting("us-east-1"),
    }


def test_secrets_never_show_in_a_repr(tmp_path: Path) -> None:
    text = """
functions: {aws: [{lambda: {name: f, container: {image: a}}}]}
storage_providers:
  webdav:
    lab: {hostname: h, login: me, password: hunter2}
"""
    workflow = load(text, tmp_path)
    assert workflow.storage_providers[0].reference == "webdav.lab"
    assert "hunter2" not in repr(workflow)


def test_a_workflow_cannot_be_changed(tmp_path: Path) -> None:
    workflow = load(DARKNET, tmp_path, files=("yolo.sh",))
    with pytest.raises(FrozenInstanceError):
        workflow.functions[0].memory_mib = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        workflow.functions[0].environment["A"] = "b"  # type: ignore[index]


QUEUE_ARN = "arn:aws:sqs:eu-west-1:123456789012:q"
EVERY_KEY = """\
functions:
  aws:
  - lambda:
      name: everything
      description: all keys
      region: eu-west-1
      memory: 1024
      timeout: 600
      ephemeral_storage: 2048
      architectures: [arm64]
      execution_mode: lambda-batch
      runtime: python3.9
      log_level: DEBUG
      layers: ["arn:aws:lambda:eu-west-1:123456789012:layer:tools:3"]
      environment: {Variables: {CONT_VAR_A: b}}
      init_script: s.sh
      run_script: s.sh
      extra_payload: .
      container:
        image: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/me/tool:1
        alpine: true
        create_image: false
        timeout_threshold: 20
        environment: {Variables: {C: d}}
        registry_credentials: login
      input:
      - path: inputs/in
        prefix: a
        topic: arn:aws:sns:eu-west-1:123456789012:new
        queue: {max_concurrency: 4, retention_days: 3}
      output:
      - {storage_provider: minio.lab, path: results/out, suffix: [jpg]}
      deployment: {bucket: staging}
      vpc: {SubnetIds: [subnet-0a1b2c3d], SecurityGroupIds: [sg-0a1b2c3d]}
      file_system:
      - Arn: arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-0123456789abcdef0
        LocalMountPath: /mnt/data
      reserved_concurrency: 5
      retry_attempts: 0
      once: true
      tags: {project: vision}
      preheat: true
      asynchronous: true
      invocation_type: Event
      log_type: None
      payload: {any: [thing]}
    iam: {role: "arn:aws:iam::123456789012:role/mine"}
    api_gateway: {name: api, auth: API_KEY}
    cloudwatch: {log_retention_policy_in_days: 7}
    batch:
      vcpus: 4
      memory: 8000
      timeout: 3600
      attempts: 3
      retry: [{memory: 16000}, {vcpus: 8, timeout: 7200}]
      ephemeral_storage: 100
      enable_gpu: true
      service_role: arn:aws:iam::123456789012:role/batch
      environment: {Variables: {E: f}}
      state: DISABLED
      type: MANAGED
      multi_node_parallel: {enabled: true, number_nodes: 3, main_node_index: 1}
      compute_resources:
        min_v_cpus: 1
        desired_v_cpus: 2
        max_v_cpus: 32
        instance_types: [g5g.xlarge]
        assign_public_ip: true
        subnets: [subnet-0a1b2c3d]
        security_group_ids: [sg-0a1b2c3d]
        instance_role: ecsInstanceRole
        launch_template_name: mine
    ecr: {delete_image: false}
storage_providers:
  minio:
    lab: {endpoint: "https://m", access_key: "${ENV:A}", secret_key: "${ENV:B}", verify: false}
allow_loops: true
"""


def test_every_key_reaches_the_model(tmp_path: Path) -> None:
    workflow = load(EVERY_KEY, tmp_path, files=("s.sh",))
    assert workflow.functions == (
        Function(
            name="everything",
            description="all keys",
            region="eu-west-1",
            memory_mib=1024,
            timeout_s=600,
            ephemeral_storage_mib=2048,
            architecture="arm64",
            execution_mode=ExecutionMode.LAMBDA_BATCH,
            image_runtime=False,
            delete_ecr_image=False,
            log_level="DEBUG",
            layer_arns=("arn:aws:lambda:eu-west-1:123456789012:layer:tools:3",),
            environment={"CONT_VAR_A": "b"},
            init_script=tmp_path / "s.sh",
            extra_payload=tmp_path,
            container=Container(
                image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/me/tool:1",
                environment={"C": "d"},
                timeout_threshold_s=20,
                registry_credentials="login",
                create_image=False,
            ),
            inputs=(
                StorageEntry(
                    "inputs",
                    "in",
                    prefixes=("a",),
                    topic_arn="arn:aws:sns:eu-west-1:123456789012:new",
                    queue=QueueSettings(max_concurrency=4, retention_days=3),
                ),
            ),
            outputs=(StorageEntry("results", "out", suffixes=("jpg",), provider="minio.lab"),),
            deployment_bucket="staging",
            vpc=Vpc(("subnet-0a1b2c3d",), ("sg-0a1b2c3d",)),
            file_systems=(
                FileSystem(
                    "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-0123456789abcdef0",
                    "/mnt/data",
                ),
            ),
            reserved_concurrency=5,
            retry_attempts=0,
            once=True,
            tags={"project": "vision"},
            preheat=True,
            role_arn="arn:aws:iam::123456789012:role/mine",
            log_retention_days=7,
            api_gateway=ApiGateway("api", "API_KEY"),
            run=RunOptions(tmp_path / "s.sh", True, "Event", "None", {"any": ["thing"]}),
            batch=BatchJob(
                vcpus=4,
                memory_mib=8000,
                timeout_s=3600,
                attempts=3,
                retry=(JobSize(4, 16000, 3600), JobSize(8, 16000, 7200)),
                ephemeral_storage_gib=100,
                environment={"E": "f"},
                state="DISABLED",
                gpus=1,
                multi_node=MultiNode(3, 1),
                service_role_arn="arn:aws:iam::123456789012:role/batch",
                compute_resources=ComputeResources(
                    type="EC2",
                    min_v_cpus=1,
                    desired_v_cpus=2,
                    max_v_cpus=32,
                    instance_types=("g5g.xlarge",),
                    subnets=("subnet-0a1b2c3d",),
                    security_group_ids=("sg-0a1b2c3d",),
                    assign_public_ip=True,
                    instance_role="ecsInstanceRole",
                    launch_template_name="mine",
                ),
            ),
        ),
    )
    assert workflow.storage_providers == (
        StorageProvider(
            "minio",
            "lab",
            {
                "region": Setting("us-east-1"),
                "endpoint": Setting("https://m"),
                "access_key": Setting("A", "environment"),
                "secret_key": Setting("B", "environment"),
            },
            verify=False,
        ),
    )
    assert workflow.allow_loops
    assert workflow.buckets == ()  # one is fed by a topic, the other is on MinIO


@pytest.mark.parametrize(
    ("function", "queue", "expected"),
    [
        ("", "{}", QueueSettings(10, 0, 14)),
        ("reserved_concurrency: 50", "{}", QueueSettings(50, 0, 14)),
        ("reserved_concurrency: 5000", "{}", QueueSettings(1000, 0, 14)),
        ("execution_mode: batch", "{}", QueueSettings(2, 20, 14)),
        ("execution_mode: batch, reserved_concurrency: 50", "{batch_window: 0}", QueueSettings(2, 0, 14)),
        ("", '{arn: "arn:aws:sqs:eu-west-1:123456789012:q"}', QueueSettings(10, arn=QUEUE_ARN)),
    ],
)
def test_defaults_of_a_queue(function: str, queue: str, expected: QueueSettings, tmp_path: Path) -> None:
    settings = f"name: f, container: {{image: a}}, input: [{{path: inputs/in, queue: {queue}}}], {function}"
    workflow = load(f"functions: {{aws: [{{lambda: {{{settings}}}}}]}}", tmp_path)
    assert workflow.functions[0].inputs == (StorageEntry("inputs", "in", queue=expected),)
    assert workflow.buckets == (() if expected.arn else ("inputs",))


def job_of(batch: str, folder: Path, more: str = "") -> BatchJob:
    text = (
        "functions: {aws: [{lambda: {name: f, execution_mode: batch, container: {image: a}%s}, batch: %s}]}"
    )
    (function,) = load(text % (more, batch), folder).functions
    assert function.batch is not None
    return function.batch


@pytest.mark.parametrize(
    ("batch", "architecture", "types", "most"),
    [
        ("{compute_resources: {type: EC2}}", "x86_64", ("optimal",), 2),
        ("{compute_resources: {type: SPOT}}", "arm64", ("default_arm64",), 2),
        ("{enable_gpu: true}", "x86_64", ("g4dn",), 4),
        ("{enable_gpu: true, vcpus: 5}", "arm64", ("g5g",), 8),
        # Each node has an instance of its own, of two vCPUs at least.
        ("{multi_node_parallel: {enabled: true, number_nodes: 3}}", "x86_64", ("optimal",), 6),
        ("{vcpus: 1, memory: 2048, retry: [{memory: 16384}, {vcpus: 4}]}", "x86_64", ("optimal",), 4),
    ],
)
def test_compute_resources_are_enough_for_one_job_by_default(
    batch: str, architecture: str, types: tuple[str, ...], most: int, tmp_path: Path
) -> None:
    resources = job_of(batch, tmp_path, f", architectures: [{architecture}]").compute_resources
    assert resources.instance_types == types
    assert resources.max_v_cpus == most


def test_further_sizes_are_filled_in_with_what_fargate_offers(tmp_path: Path) -> None:
    sizes = "[{memory: 16384}, {timeout: 7200}, {vcpus: 8}, {memory: 122880}]"
    job = job_of(f"{{memory: 4096, timeout: 600, retry: {sizes}}}", tmp_path)
    assert job.retry == (
        JobSize(2, 16384, 600),
        JobSize(2, 16384, 7200),
        JobSize(8, 16384, 7200),
        JobSize(16, 122880, 7200),
    )


def test_jobs_with_a_file_system_run_in_the_functions_vpc(tmp_path: Path) -> None:
    vpc = ", vpc: {SubnetIds: [subnet-0a1b2c3d], SecurityGroupIds: [sg-0a1b2c3d]}"
    arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0"
    mounted = f", file_system: [{{Arn: '{arn}', LocalMountPath: /mnt/data}}]"
    resources = job_of("{}", tmp_path, vpc + mounted).compute_resources
    assert resources.subnets == ("subnet-0a1b2c3d",)
    assert resources.security_group_ids == ("sg-0a1b2c3d",)
    assert resources.assign_public_ip is False
    assert job_of("{}", tmp_path, vpc).compute_resources == ComputeResources()
    own = "{compute_resources: {subnets: [subnet-11111111], security_group_ids: [sg-11111111]}}"
    assert job_of(own, tmp_path, mounted).compute_resources.subnets == ("subnet-11111111",)


def test_keys_at_their_defaults_have_no_diagnostics(tmp_path: Path) -> None:
    text = """
functions:
  aws:
  - lambda:
      name: f
      runtime: python3.7
      architectures: [x86_64]
      layers: []
      retry_attempts: 2
      preheat: no
      asynchronous: false
      tags: {}
      container: {image: a, alpine: no}
      output: [{storage_provider: s3, path: out-bucket}]
    iam: {role: ""}
    batch: {}
"""
    (tmp_path / "w.yaml").write_text(text)
    assert check(tmp_path / "w.yaml").diagnostics == ()
