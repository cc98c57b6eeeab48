"""Names that belong to others, and sizes that Fargate offers."""

from __future__ import annotations

import pytest

from fdl_schemas import fargate
from fdl_schemas.names import (
    bucket_problem,
    container_variable_problem,
    function_variable_problem,
    image_problem,
    job_variable_problem,
)


@pytest.mark.parametrize(
    "name", ["abc", "scar-video", "my.bucket.org", "0a1", "a" * 63, "1.2.3", "a--b", "a.-b"]
)
def test_buckets_that_s3_allows(name: str) -> None:
    assert bucket_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "Scar",
        "scar_video",
        "-scar",
        "scar-",
        ".scar",
        "scar.",
        "a..b",
        "192.168.5.4",
        "xn--scar",
        "sthree-scar",
        "amzn-s3-demo-scar",
        "scar-s3alias",
        "scar--ol-s3",
        "scar.mrap",
        "scar--x-s3",
        "scar--table-s3",
        "scär",
        "scar\n",
        "²²²",
        "",
    ],
)
def test_buckets_that_s3_refuses(name: str) -> None:
    assert bucket_problem(name)


@pytest.mark.parametrize(
    "reference",
    [
        "ubuntu",
        "grycap/ffmpeg",
        "grycap/ffmpeg:latest",
        "docker.io/library/alpine:3.20",
        "localhost/me/tool",
        "127.0.0.1:5000/me/tool:1",
        "public.ecr.aws/docker/library/python:3.13-slim",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/me:tag",
        "quay.io/a/b/c/d__e-f.g",
        "a@sha256:" + "0" * 64,
        "a/b:1@sha256:" + "f" * 64,
        "Registry.example.org/a",
        "[::1]:5000/a",
        "localhost:65535/a",
    ],
)
def test_images_that_docker_would_pull(reference: str) -> None:
    assert image_problem(reference) is None


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "https://hub.docker.com/r/a/b",
        "a b",
        "Grycap",
        "grycap/FFmpeg",
        "a:",
        "a:b:c",
        "a@sha256:123",
        "a@",
        "a/",
        "/a",
        "a//b",
        "-a",
        "a..b",
        "a:" + "x" * 129,
        "x" * 256,
        "reg_istry.org/a",
        "localhost:65536/a",
        "quay.io:0/a",
        "a\n",
        "$(id)",
        "a;b",
    ],
)
def test_images_that_nobody_can_pull(reference: str) -> None:
    assert image_problem(reference)


def test_names_that_want_to_take_long_do_not() -> None:
    for text in ("a-" * 100_000 + "!", "a" * 200_000 + "!", "a." * 100_000 + "!/b", "-" * 200_000):
        assert image_problem(text)
        assert bucket_problem(text)


@pytest.mark.parametrize("name", ["AB", "CONT_VAR_x", "a1", "PATH", "SCAR_ENGINE"])
def test_variables_that_lambda_takes(name: str) -> None:
    assert function_variable_problem(name) is None


@pytest.mark.parametrize(
    "name", ["A", "_A", "1A", "A-B", "", "AWS_REGION", "SCAR_JOB_QUEUE", "_HANDLER", "AB\n"]
)
def test_variables_that_lambda_refuses(name: str) -> None:
    assert function_variable_problem(name)


def test_variables_of_jobs_and_containers() -> None:
    assert job_variable_problem("AWS_BATCH_JOB_ID")
    assert job_variable_problem("SCAR_EVENT")
    assert job_variable_problem("A") is None
    assert container_variable_problem("a.b-c") is None
    assert container_variable_problem("") and container_variable_problem("A=B")
    assert container_variable_problem("A\0") and container_variable_problem("A\n")


@pytest.mark.parametrize(
    ("vcpus", "memory", "size"),
    [
        (None, None, (1, 2048)),
        (0.25, None, (0.25, 1024)),
        (16, None, (16, 32768)),
        (None, 512, (0.25, 512)),
        (None, 1024, (0.5, 1024)),
        (None, 4096, (1, 4096)),
        (None, 16384, (2, 16384)),
        (None, 122880, (16, 122880)),
        (2, 4096, (2, 4096)),
        (1, 1024, None),
        (8, 17408, None),
        (8, 20480, (8, 20480)),
        (3, None, None),
        (None, 513, None),
    ],
)
def test_sizes_of_fargate(vcpus: float | None, memory: int | None, size: tuple[float, int] | None) -> None:
    assert fargate.size(vcpus, memory) == size


def test_nearest_size_is_one_that_is_offered() -> None:
    for vcpus in (0.3, 1, 3, 17):
        for memory in (100, 3000, 61441, 999999):
            near = fargate.nearest(vcpus, memory)
            assert near[1] in fargate.OFFERED[near[0]]
