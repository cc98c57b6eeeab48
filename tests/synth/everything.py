"""A workflow that uses every key of the language that can be deployed."""

from __future__ import annotations

from pathlib import Path

from tests.oci_images import Image, docker_save

FDL = """
functions:
  aws:
    - lambda:
        name: settings
        description: each setting of a function
        memory: 1024
        timeout: 60
        ephemeral_storage: 2048
        architectures: [arm64]
        execution_mode: lambda
        log_level: DEBUG
        runtime: python3.13
        layers: ["arn:aws:lambda:us-east-1:123456789012:layer:theirs:7"]
        environment: {Variables: {KEY: value}}
        init_script: run.sh
        run_script: run.sh
        extra_payload: models
        asynchronous: true
        invocation_type: Event
        log_type: None
        payload: '{"a": 1}'
        reserved_concurrency: 4
        retry_attempts: 1
        tags: {team: blue}
        vpc:
          SubnetIds: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
          SecurityGroupIds: [sg-0123456789abcdef0]
        file_system:
          - Arn: arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0
            LocalMountPath: /mnt/data
        container:
          image: registry.example.org/tools/convert:7
          registry_credentials: registry/login
          timeout_threshold: 15
          environment: {Variables: {MODE: fast}}
        input:
          - {storage_provider: s3, path: pictures/raw, suffix: [.jpg, .png]}
          - {storage_provider: s3, path: words/raw, prefix: x, suffix: .txt}
        output:
          - {storage_provider: s3, path: pictures/small, suffix: .jpg, prefix: small-}
          - {storage_provider: s3, path: words/out}
      cloudwatch: {log_retention_policy_in_days: 7}
    - lambda:
        name: given-role
        extra_payload: models/weights.bin
        container: {image: alpine}
        input: [{storage_provider: s3, path: pictures/small}]
      iam: {role: "arn:aws:iam::123456789012:role/theirs"}
    - lambda:
        name: goes-on-in-batch
        execution_mode: lambda-batch
        timeout: 30
        architectures: [arm64]
        init_script: run.sh
        container: {image_file: image.tar}
        input: [{storage_provider: s3, path: words/long}]
        output: [{storage_provider: s3, path: words/done}]
      batch:
        vcpus: 0.5
        memory: 2048
        timeout: 120
        attempts: 3
        retry:
          - {memory: 8192}
          - {memory: 16384, vcpus: 4, timeout: 240}
        ephemeral_storage: 50
        service_role: arn:aws:iam::123456789012:role/batch
        environment: {Variables: {JOB: "1"}}
        state: DISABLED
        compute_resources:
          type: FARGATE_SPOT
          max_v_cpus: 8
          subnets: [subnet-0123456789abcdef0]
          security_group_ids: [sg-0123456789abcdef0]
          assign_public_ip: true
      cloudwatch: {log_retention_policy_in_days: 90}
    - lambda:
        name: staged-image
        deployment: {bucket: bucket-of-images}
        container: {image_file: image.tar}
        input: [{storage_provider: s3, path: words/staged}]
    - lambda:
        name: shared-first
        container: {image: alpine}
        input: [{storage_provider: s3, path: shared/in, suffix: [.txt, "*.csv"]}]
    - lambda:
        name: shared-second
        container: {image: alpine}
        input:
          - {storage_provider: s3, path: shared/in/deep}
          - {storage_provider: s3, path: shared/in/deep/er}
          - {storage_provider: s3, path: shared/elsewhere}
    - lambda:
        name: fed-by-topic
        container: {image: alpine}
        input:
          - storage_provider: s3
            path: public-satellite/scenes
            suffix: .tif
            topic: arn:aws:sns:us-east-1:987654321098:new-scenes
          - storage_provider: s3
            path: public-satellite/maps
            topic: arn:aws:sns:us-east-1:987654321098:new-maps
        output: [{storage_provider: s3, path: pictures/satellite}]
    - lambda:
        name: writes-elsewhere
        container: {image: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/tools:7"}
        execution_mode: lambda-batch
        input: [{storage_provider: s3, path: words/spread}]
        output:
          - {storage_provider: minio.lab, path: results/words}
          - {storage_provider: s3.partner, path: partner-bucket/words}
          - {storage_provider: webdav.home, path: words}
          - {storage_provider: onedata.eosc, path: words/out}
    - lambda:
        name: public
        preheat: true
        container: {image: alpine}
        output: [{storage_provider: s3, path: words/http}]
      api_gateway: {name: public-endpoint}
    - lambda:
        name: for-aws-users
        execution_mode: batch
        preheat: true
        container: {image: alpine}
      api_gateway: {name: iam-endpoint, auth: AWS_IAM}
    - lambda:
        name: for-key-holders
        container: {image: alpine}
      api_gateway: {name: key-endpoint, auth: API_KEY}
    - lambda:
        name: called-by-hand
        container: {image: alpine}
storage_providers:
  minio:
    lab:
      endpoint: https://minio.example.org
      access_key: minio-access-key
      secret_key: "${ENV:LAB_SECRET_KEY}"
      verify: false
    unused: {endpoint: "https://other.example.org", access_key: a, secret_key: "${ENV:NOT_SET}"}
  s3:
    partner:
      access_key: "${SECRET:partner/keys}"
      secret_key: "${SECRET:partner/keys}"
      region: eu-west-1
  webdav:
    home:
      hostname: "${ENV:HOME_SERVER}"
      login: webdav-login
      password: webdav-password-in-the-clear
  onedata:
    eosc:
      oneprovider_host: provider.example.org
      token: "${SECRET:arn:aws:secretsmanager:us-east-1:123456789012:secret:onedata-AbCdEf}"
      space: My Space
"""

QUEUES = """
    - lambda:
        name: with-a-queue
        timeout: 60
        container: {image: alpine}
        input:
          - {path: waiting/in, suffix: [.jpg, .png], queue: &six {max_concurrency: 6, retention_days: 4}}
          - {path: waiting-too, queue: *six}
          - {path: shared/in/queued, queue: *six}
          - path: public-satellite/clouds
            topic: arn:aws:sns:us-east-1:987654321098:new-clouds
            queue: *six
    - lambda:
        name: with-a-queue-in-batch
        execution_mode: batch
        container: {image: alpine}
        input: [{path: waiting/jobs, queue: {batch_window: 60}}]
    - lambda:
        name: fed-by-their-queue
        container: {image: alpine}
        input:
          - path: their-bucket/in
            queue: {arn: "arn:aws:sqs:us-east-1:123456789012:new-objects"}
"""

KINDS_OF_JOBS = """
functions:
  aws:
    - lambda:
        name: needs-a-gpu
        execution_mode: lambda-batch
        container: {image: alpine}
      batch:
        vcpus: 4
        memory: 12288
        enable_gpu: true
        compute_resources:
          min_v_cpus: 4
          desired_v_cpus: 8
          max_v_cpus: 16
          instance_types: [g5.xlarge, g4dn]
          instance_role: ecsInstanceRole
          launch_template_name: theirs
    - lambda:
        name: on-spot-instances
        execution_mode: batch
        architectures: [arm64]
        container: {image: alpine}
      batch:
        attempts: 1
        retry: [{memory: 3000, vcpus: 2}]
        compute_resources: {type: SPOT}
    - lambda:
        name: on-several-nodes
        execution_mode: batch
        container: {image: alpine}
        input: [{storage_provider: s3, path: words/mpi}]
      batch:
        multi_node_parallel: {enabled: true, number_nodes: 3, main_node_index: 1}
    - lambda:
        name: reads-a-file-system
        execution_mode: batch
        container: {image: alpine}
        vpc:
          SubnetIds: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
          SecurityGroupIds: [sg-0123456789abcdef0]
        file_system:
          - Arn: arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0
            LocalMountPath: /mnt/data
"""
"""More kinds of Batch jobs: a stack with two copies of everything above is nearly full."""

ENVIRONMENT = {"LAB_SECRET_KEY": "key-of-the-lab", "HOME_SERVER": "https://dav.example.org"}
SECRETS = ("minio-access-key", "key-of-the-lab", "webdav-login", "webdav-password-in-the-clear")


def write(folder: Path, *, queues: bool = True) -> Path:
    """The FDL file and what it names, in a folder."""
    (folder / "run.sh").write_text("#!/bin/sh\nexit 0\n")
    (folder / "models" / "sub").mkdir(parents=True)
    (folder / "models" / "weights.bin").write_bytes(b"weights")
    (folder / "models" / "sub" / "labels.txt").write_text("cat\ndog\n")
    docker_save(folder / "image.tar", Image([], architecture=""))
    file = folder / "everything.yaml"
    more = QUEUES.lstrip("\n") if queues else ""
    file.write_text(FDL.replace("\nstorage_providers:", f"\n{more}storage_providers:"))
    return file
