"""The answer to an HTTP request is what the container writes on standard output, whatever the image is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests import oci_images
from tests.unit.runtime.conftest import Function
from tests.unit.runtime.event_shapes import rest_request


def test_image_without_a_shell_answers(function: Function) -> None:
    if oci_images.busybox_layer() is None:
        pytest.skip("busybox-static is not installed")
    busybox = Path(str(shutil.which("busybox"))).read_bytes()
    image = oci_images.Image(
        [oci_images.tar_of([oci_images.File("busybox", busybox, 0o755)])],
        {"Entrypoint": ["/busybox", "echo"], "Cmd": ["no shell here"]},
    )
    oci_images.write_layout(function.store.parent / "mirror/test/bare", {"latest": image})
    function.deploy(image="test/bare")
    answer = function.invoke(rest_request())
    assert (answer["statusCode"], answer["body"]) == (200, "no shell here\n")


def test_answer_that_lambda_cannot_carry_is_an_error(function: Function) -> None:
    function.deploy("#!/bin/sh\nhead -c 7000000 /dev/zero\n")
    answer = function.invoke(rest_request())
    assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (500, "AnswerTooLarge")


def test_standard_output_of_a_failed_request_is_logged(
    function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    function.deploy("#!/bin/sh\necho on standard output; echo on standard error >&2\nexit 3\n")
    assert function.invoke(rest_request())["statusCode"] == 500
    logged = capsys.readouterr().out.splitlines()
    assert {"on standard output", "on standard error"} <= set(logged)
