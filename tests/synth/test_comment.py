"""The comment on a pull request, made of templates that the CDK has synthesized."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdl_schemas.model import Workflow
from scar_cli.deployment.changes import compare
from scar_cli.deployment.comment import comment
from tests.synth.synthesized import Synthesize, Synthesized


@pytest.fixture(scope="session")
def without_second_function(seed_workflow: Workflow, synthesize: Synthesize) -> Synthesized:
    """The video workflow, when a pull request removes the function that looks at the pictures."""
    (first, _second) = seed_workflow.functions
    return synthesize(replace(seed_workflow, functions=(replace(first, outputs=()),)))


def lines_of(text: str, title: str) -> list[str]:
    section = text.partition(f"**{title}**\n\n")[2].partition("\n\n")[0]
    return section.splitlines()


def test_a_function_that_is_removed_is_named_with_what_is_lost(
    seed: Synthesized, without_second_function: Synthesized
) -> None:
    text = comment([compare("video", "us-east-1", seed.template, without_second_function.template)])
    destructive = lines_of(text, "Destructive changes")
    assert destructive[0] == (
        "- function `scar-lambda-darknet`: Deleted with the events that are waiting for it."
    )
    assert sum("queue `" in line for line in destructive) == 1
    assert any("log group `/aws/lambda/scar-lambda-darknet`" in line for line in destructive)
    rights = lines_of(text, "Permissions")
    assert [line for line in rights if not line.startswith("- removed: `")] == []
    assert any("s3:GetObject" in line and "scar-video/split-images" in line for line in rights)
    assert text.index("**Destructive changes**") < text.index("**Permissions**") < text.index("<details>")


@pytest.mark.parametrize(
    ("destroy", "lost"),
    [
        (False, "Removed from the stack and kept with its files."),
        (True, "Deleted with all files in it."),
    ],
)
def test_a_bucket_that_is_removed_comes_first_and_is_kept_or_deleted(
    seed_workflow: Workflow, synthesize: Synthesize, destroy: bool, lost: str
) -> None:
    (first, second) = seed_workflow.functions
    elsewhere = tuple(replace(entry, bucket="other-bucket") for entry in first.inputs)
    before = replace(seed_workflow, functions=(replace(first, inputs=elsewhere), second))
    old = synthesize(before, destroy_buckets=destroy)
    new = synthesize(seed_workflow, destroy_buckets=destroy)
    text = comment([compare("video", "us-east-1", old.template, new.template)])
    assert lines_of(text, "Destructive changes")[0].startswith(f"- bucket `other-bucket`: {lost}")


def test_a_new_stack_destroys_nothing_and_hides_the_helpers(seed: Synthesized) -> None:
    text = comment([compare("video", "us-east-1", None, seed.template)])
    assert "Destructive" not in text
    shown, _details, collapsed = text.partition("<details>")
    assert "- new function `scar-lambda-darknet`" in shown
    assert "- new bucket `scar-video`" in shown
    for helper in (
        "ImagesAssembler",
        "BucketNotifications",
        "BucketFolders",
        "EventsBucket",
        "ScarNetworkVpc",
    ):
        assert f"`{helper}" not in shown.replace("on `", ""), helper
        assert f"`{helper}" in collapsed, helper
