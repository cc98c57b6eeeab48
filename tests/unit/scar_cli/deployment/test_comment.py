"""The changes of a deployment as a comment on a pull request: what comes first, and names that attack it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from scar_cli.commands.diff import command
from scar_cli.deployment.changes import Change, Changes, as_json, compare
from scar_cli.deployment.comment import code, comment
from scar_cli.deployment.losses import REPLACING, what_is_lost
from scar_cli.errors import UserError


def resource(kind: str, policy: str | None = None, **properties: Any) -> dict[str, Any]:
    policies = {"DeletionPolicy": policy, "UpdateReplacePolicy": "Retain" if policy != "Delete" else policy}
    return {"Type": kind, "Properties": properties, **(policies if policy else {})}


TEMPLATE: dict[str, Any] = {
    "Resources": {
        "FunctionsfFunction": resource("AWS::Lambda::Function", FunctionName="f", MemorySize=256),
        "FunctionsfFailureQueue": resource("AWS::SQS::Queue", "Delete"),
        "FunctionsfLogs": resource("AWS::Logs::LogGroup", "Delete", LogGroupName="/aws/lambda/f"),
        "BucketsinBucket": resource("AWS::S3::Bucket", "RetainExceptOnCreate", BucketName="pictures"),
        "EventsBucket": resource("AWS::S3::Bucket", "Delete"),
        "ImagesAssemblerPolicy": resource("AWS::IAM::Policy", PolicyDocument={"Statement": []}),
    }
}


def changed(**resources: Any) -> dict[str, Any]:
    """The template with other resources; None removes one."""
    merged = {**copy.deepcopy(TEMPLATE["Resources"]), **resources}
    return {"Resources": {name: one for name, one in merged.items() if one is not None}}


def comment_on(old: dict[str, Any] | None, new: dict[str, Any]) -> str:
    return comment([compare("words-prod", "eu-west-1", old, new)])


def sections(text: str) -> list[str]:
    return re.findall(r"^\*\*(.*)\*\*$|^<summary>(?:\d+ )?(.*)</summary>$", text, re.MULTILINE)


def test_without_changes_it_is_one_sentence_under_the_marker() -> None:
    assert comment_on(TEMPLATE, copy.deepcopy(TEMPLATE)) == (
        "<!-- scar-diff words-prod -->\n\nNo changes to `words-prod` in eu-west-1.\n"
    )


def test_what_is_destroyed_comes_first_then_permissions_then_the_rest_and_helpers_collapsed() -> None:
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    new = changed(
        BucketsinBucket=None,
        FunctionsfFailureQueue=None,
        FunctionsfLogs=None,
        EventsBucket=None,
        FunctionsfFunction=resource("AWS::Lambda::Function", FunctionName="f", MemorySize=512),
        FunctionsgPolicy=resource("AWS::IAM::Policy", PolicyDocument={"Statement": [statement]}),
        ImagesAssemblerPolicy=resource("AWS::IAM::Policy", PolicyDocument={"Statement": [statement]}),
    )
    assert (
        comment_on(TEMPLATE, new)
        == """<!-- scar-diff words-prod -->

### `words-prod` in eu-west-1

**Destructive changes**

- bucket `pictures`: Removed from the stack and kept with its files. Nothing in the stack uses it any longer.
- queue `FunctionsfFailureQueue`: Deleted with the messages in it, such as failed events.
- log group `/aws/lambda/f`: Deleted with its log lines.

**Permissions**

- added: `FunctionsgPolicy may s3:* on *`

**New and changed**

- changed function `f` (`MemorySize: 256 → 512`)

<details>
<summary>4 changes to supporting resources</summary>

- changed policy `ImagesAssemblerPolicy`
- new policy `FunctionsgPolicy`
- removed bucket `EventsBucket`
- added: `ImagesAssemblerPolicy may s3:* on *`

</details>
"""
    )


def test_what_everybody_may_do_is_never_collapsed() -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Principal": "*"}
    policy = resource("AWS::S3::BucketPolicy", PolicyDocument={"Statement": [statement]})
    text = comment_on(TEMPLATE, changed(EventsPolicy=policy))
    shown, _details, _collapsed = text.partition("<details>")
    assert "- added: `everybody may s3:GetObject on EventsPolicy`" in shown


@pytest.mark.parametrize(
    ("was", "will", "lost"),
    [
        (resource("AWS::S3::Bucket", "Delete"), None, "Deleted with all files in it."),
        (
            resource("AWS::S3::Bucket", "Retain", BucketName="a"),
            resource("AWS::S3::Bucket", "Retain", BucketName="b"),
            "Replaced, because BucketName changes. The old one is kept, outside the stack.",
        ),
        (
            resource("AWS::SQS::Queue", "Delete", QueueName="a"),
            resource("AWS::SQS::Queue", "Delete", QueueName="b"),
            "Replaced, because QueueName changes. The old one is deleted with the messages in it, such as "
            "failed events.",
        ),
        (
            resource("AWS::Lambda::Function", PackageType="Image"),
            resource("AWS::Lambda::Function"),
            "Replaced, because PackageType changes. The old one is deleted with the events that are waiting "
            "for it.",
        ),
        (
            resource("AWS::S3::Bucket", "RetainExceptOnCreate"),
            resource("AWS::S3::Bucket", "Delete"),
            "From now on, deleting the stack also deletes this, with all files in it.",
        ),
        (
            resource("AWS::S3::Bucket", "Delete"),
            resource("AWS::SQS::Queue"),
            "Replaced by a resource of another type, and deleted with all files in it.",
        ),
        (resource("AWS::IAM::Role"), None, None),
        (resource("AWS::S3::Bucket", "Delete"), resource("AWS::S3::Bucket", "Delete", Tags=[]), None),
    ],
)
def test_what_is_lost(was: dict[str, Any], will: dict[str, Any] | None, lost: str | None) -> None:
    assert what_is_lost(was, will) == lost


def test_json_says_what_is_lost_too() -> None:
    (bucket,) = as_json(compare("s", "r", TEMPLATE, changed(BucketsinBucket=None)))["Resources"]
    assert bucket["Lost"].startswith("Removed from the stack and kept")


def test_replacing_properties_are_those_of_cloudformation() -> None:
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    for kind, properties in REPLACING.items():
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
        assert {f"/properties/{name}" for name in properties} <= set(schema["createOnlyProperties"])


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").parse(text):
        yield token
        yield from token.children or ()


HOSTILE = [
    "a`b",
    "``",
    "`",
    "x --> <img src=x onerror=alert(1)>",
    "</details><script>alert(1)</script>",
    "[click](https://evil.example)",
    "![](https://evil.example/pixel)",
    "line\n\n# heading\r\n- [ ] task",
    "@everyone <b>&lt;",
    "\u202egnp.exe",
    "\\",
    "  ",
    "",
    "x" * 5000,
    "``` ```` `",
]


@given(st.one_of(st.sampled_from(HOSTILE), st.text(alphabet="`<>-\n []()!#*_\\&|@a~", max_size=40)))
@settings(max_examples=150, deadline=None)
def test_names_cannot_break_out_of_a_code_span(name: str) -> None:
    changes = Changes(
        name,
        "eu-west-1",
        False,
        (
            Change("-", "AWS::S3::Bucket", name, lost="Deleted."),
            Change("~", "AWS::Lambda::Function", name, (f"Description: {name} → {name}",)),
            Change("+", "AWS::IAM::Role", name, is_helper=True),
        ),
        (("+", f"{name} may s3:* on *"),),
    )
    text = comment([changes])
    kinds = [(token.type, token.tag) for token in tokens(text)]
    assert {kind for kind, _tag in kinds} <= {
        *("html_block", "heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline"),
        *("text", "code_inline", "strong_open", "strong_close", "softbreak"),
        *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
    }
    assert kinds.count(("heading_open", "h3")) == 1
    assert kinds.count(("list_item_open", "li")) in (4, 5)
    html = [token.content for token in tokens(text) if token.type == "html_block"]
    assert re.fullmatch("<!-- scar-diff [A-Za-z0-9-]* -->\n", html[0])
    assert html[1:] in (
        [],
        ["<details>\n<summary>1 change to supporting resources</summary>\n", "</details>\n"],
        ["<details>\n<summary>2 changes to supporting resources</summary>\n", "</details>\n"],
    )


def test_a_code_span_shows_the_text_as_it_is() -> None:
    for text in ("a`b", "``", "`x", "plain", "a``b```c"):
        (shown,) = [token.content for token in tokens(code(text)) if token.type == "code_inline"]
        assert shown == text


@pytest.mark.parametrize("other", ["--json", "--full"])
def test_only_one_form_of_the_answer_can_be_chosen(other: str) -> None:
    with pytest.raises(UserError, match="cannot be used together"):
        command.main(["-f", "workflow.yaml", "--markdown", other], standalone_mode=False)


def test_a_comment_never_becomes_longer_than_github_takes() -> None:
    resources = tuple(
        Change(sign, "AWS::Lambda::Function", f"{number}{'x' * 400}", ("d" * 400,) * 20, lost, helper)
        for number in range(60)
        for sign, lost, helper in (("-", "Deleted.", False), ("~", None, False), ("+", None, True))
    )
    rights = tuple(("+", f"{number} may {'y' * 400} on *") for number in range(60))
    text = comment([Changes(f"s{number}", "r", False, resources, rights) for number in range(5)])
    assert len(text) < 65_536
    assert "Run `scar diff` to see the rest" in text
    assert text.count("<details>") == text.count("</details>")
