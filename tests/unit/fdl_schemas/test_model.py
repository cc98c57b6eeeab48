"""What the model says of where a function's container runs, and in which image."""

from __future__ import annotations

import pytest

from fdl_schemas.model import BatchJob, Container, ExecutionMode, Function


@pytest.mark.parametrize(
    ("mode", "image_runtime", "create_image", "said"),
    [
        ("lambda", True, True, (True, False, True)),
        ("lambda", True, False, (True, False, False)),
        ("lambda", False, True, (False, True, False)),
        ("lambda-batch", True, True, (True, False, True)),
        ("lambda-batch", False, True, (False, True, True)),
        ("lambda-batch", False, False, (False, True, False)),
        ("batch", True, True, (False, False, True)),
        ("batch", False, True, (False, False, True)),
        ("batch", True, False, (False, False, False)),
    ],
)
def test_which_functions_pull_and_which_need_an_assembled_image(
    mode: str, image_runtime: bool, create_image: bool, said: tuple[bool, bool, bool]
) -> None:
    function = Function(
        "f",
        Container(image="any", create_image=create_image),
        execution_mode=ExecutionMode(mode),
        batch=None if mode == "lambda" else BatchJob(),
        image_runtime=image_runtime,
    )
    assert (function.is_image_function, function.pulls_image, function.needs_assembled_image) == said
    assert function.runs_in_lambda is (mode != "batch")
