"""The pipeline files that users copy: valid for their code hosts, with few rights, and no secrets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolchain.node import any_node

REPOSITORY = Path(__file__).resolve().parents[3]
PIPELINES = REPOSITORY / "scar_cli" / "templates" / "pipelines"
GITHUB = PIPELINES / "dot-github" / "workflows" / "deploy.yml"
GITLAB = PIPELINES / "dot-gitlab-ci.yml"
ROLES = PIPELINES / "aws" / "deploy-role.yaml"
WORKFLOW: dict[Any, Any] = yaml.safe_load(GITHUB.read_text())


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        (GITHUB, ("--builtin-schema", "vendor.github-workflows")),
        (GITLAB, ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")),
    ],
    ids=["github", "gitlab"],
)
def test_a_pipeline_is_valid_by_the_public_schema(file: Path, schema: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_jobs_on_github_have_no_more_permissions_than_they_need() -> None:
    assert WORKFLOW["permissions"] == {}
    assert {name: job["permissions"] for name, job in WORKFLOW["jobs"].items()} == {
        "validate": {"contents": "read", "security-events": "write"},
        "diff": {"contents": "read", "id-token": "write", "pull-requests": "write"},
        "deploy": {"contents": "read", "id-token": "write"},
    }
    triggers = WORKFLOW[True]  # YAML 1.1 reads the key "on" as a boolean
    assert set(triggers) == {"pull_request", "push"}, (
        "pull_request_target would run strangers' files with rights"
    )
    assert WORKFLOW["jobs"]["deploy"]["concurrency"] == {
        "group": "deploy-${{ github.ref_name }}",
        "cancel-in-progress": False,
    }


def test_actions_are_pinned_and_shell_lines_hold_no_expressions() -> None:
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    for step in steps:
        assert re.fullmatch(r"[\w-]+/[\w/-]+@v\d+", step.get("uses", "a/b@v1"))
        # Stops a branch called `$(curl …)` from running: expressions are pasted into scripts unquoted.
        assert "${{" not in step.get("run", "") + step.get("with", {}).get("script", "")
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("file", [GITHUB, GITLAB, ROLES], ids=lambda file: file.name)
def test_there_are_no_secrets_in_files(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"\bsecrets\.|AKIA|aws_secret_access_key", text, re.IGNORECASE)


COMMENTING = """
const script = require('fs').readFileSync(0, 'utf8');
const calls = [];
const issues = {
  listComments: 'list',
  createComment: async (words) => calls.push(['create', words]),
  updateComment: async (words) => calls.push(['update', words]),
};
const github = { rest: { issues }, paginate: async () => JSON.parse(process.env.COMMENTS) };
const context = { repo: { owner: 'octo', repo: 'words' }, issue: { number: 5 } };
const run = Object.getPrototypeOf(async () => {}).constructor;
run('require', 'github', 'context', script)(require, github, context)
  .then(() => console.log(JSON.stringify(calls)));
"""


@pytest.mark.parametrize(
    ("comments", "call"),
    [
        ([], "create"),
        ([{"id": 1, "user": {"type": "User"}, "body": "<!-- scar-diff words -->"}], "create"),
        ([{"id": 1, "user": {"type": "Bot"}, "body": "<!-- scar-diff other -->"}], "create"),
        (
            [
                {"id": 1, "user": {"type": "Bot"}, "body": "Coverage"},
                {"id": 2, "user": {"type": "Bot"}, "body": "<!-- scar-diff words -->\nolder"},
            ],
            "update",
        ),
    ],
)
def test_github_updates_its_own_comment_and_no_other(
    comments: list[dict[str, Any]], call: str, tmp_path: Path
) -> None:
    (step,) = (one for one in WORKFLOW["jobs"]["diff"]["steps"] if "github-script" in one.get("uses", ""))
    body = "<!-- scar-diff words -->\n\nNo changes.\n"
    (tmp_path / "comment.md").write_text(body)
    node = any_node()
    assert node is not None
    done = subprocess.run(
        [str(node), "-e", COMMENTING],
        input=step["with"]["script"],
        env={"COMMENTS": json.dumps(comments)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    where = {"comment_id": 2} if call == "update" else {"issue_number": 5}
    assert json.loads(done.stdout) == [[call, {"owner": "octo", "repo": "words", **where, "body": body}]]


class _Template(yaml.SafeLoader):
    """Reads a CloudFormation template: `!Ref x` and the like become their argument."""


def _argument(loader: _Template, _tag: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    raise AssertionError(node)


_Template.add_multi_constructor("!", _argument)


def test_roles_may_do_what_pipelines_need_and_no_more() -> None:
    template = yaml.load(ROLES.read_text(), Loader=_Template)
    resources = template["Resources"]
    role = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/cdk-${Qualifier}"
    kinds = ("deploy", "file-publishing", "image-publishing", "lookup")
    (deploy,) = resources["DeployRole"]["Properties"]["Policies"]
    assert deploy["PolicyDocument"]["Statement"] == [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Resource": [f"{role}-{kind}-role-${{AWS::AccountId}}-*" for kind in kinds],
        },
        {
            "Effect": "Allow",
            "Action": "lambda:GetFunctionConfiguration",
            "Resource": "arn:${AWS::Partition}:lambda:*:${AWS::AccountId}:function:*",
        },
    ]
    assert "Policies" not in resources["DiffRole"]["Properties"]
    for name in ("DeployRole", "DiffRole"):
        assert resources[name]["Properties"]["ManagedPolicyArns"] == ["ReadPolicy"]
    everywhere = [
        one["Action"]
        for one in resources["ReadPolicy"]["Properties"]["PolicyDocument"]["Statement"]
        if one["Resource"] == "*"
    ]
    # CloudFormation checks a listing of all stacks against "*".
    assert everywhere == [["cloudformation:ListStacks", "cloudformation:DescribeStacks"]]
    for statement in resources["ReadPolicy"]["Properties"]["PolicyDocument"]["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert all(re.fullmatch(r"\w+:(List|Describe|Get)\w+", action) for action in actions)


@pytest.mark.parametrize(
    "value", ["*", "octo-org/*", "octo-org", "octo-org/a b", "octo-org/a:ref", "/a", "a/"]
)
def test_no_wildcard_gets_into_the_trust_policy(value: str) -> None:
    template = yaml.load(ROLES.read_text(), Loader=_Template)
    pattern = template["Parameters"]["Repository"]["AllowedPattern"]
    assert re.fullmatch(pattern, value) is None
    for good in ("octo-org/octo-repo", "octo-org@123456/octo-repo@456789", "group/sub/project"):
        assert re.fullmatch(pattern, good)
    for branch in ("ProductionBranch", "DevelopmentBranch"):
        assert not re.fullmatch(template["Parameters"][branch]["AllowedPattern"], "*")


def test_the_template_of_the_roles_is_valid_by_cloudformations_schemas() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cfn-lint")), str(ROLES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
