"""The pipelines that users copy, run on the embedded cloud: each `run:` or `script:` line as it is, in bash.

What a code host does around them is done here: variables, expressions, files of variables, the order of
steps. The steps run with the permissions of the roles of `deploy-role.yaml`; only the exchange of an OIDC
token for such a role is left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError

from tests import examples
from tests.cloud.embedded import CloudUnderTest, keys, until
from tests.cloud.scar_command import Scar, registry

pytestmark = pytest.mark.cloud

PIPELINES = examples.REPOSITORY / "scar_cli" / "templates" / "pipelines"
WORKFLOW = yaml.safe_load((PIPELINES / "dot-github" / "workflows" / "deploy.yml").read_text())
GITLAB = yaml.safe_load((PIPELINES / "dot-gitlab-ci.yml").read_text())
ROLES = PIPELINES / "aws" / "deploy-role.yaml"
EXTRA = "\n      - {storage_provider: s3, path: pipeline-extra/all}"
FDL = f"""functions:
  aws:
  - lambda:
      name: pipeline-words
      init_script: words.sh
      container: {{image: "busybox:1.37"}}
      input:
      - {{storage_provider: s3, path: pipeline-in/texts}}
      output:
      - {{storage_provider: s3, path: pipeline-out/counts}}{EXTRA}
"""
CDK_ROLE = "arn:aws:iam::000000000000:role/cdk-hnb659fds-deploy-role-000000000000-us-east-1"
PROVIDER = "arn:aws:iam::000000000000:oidc-provider/token.actions.githubusercontent.com"


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    failed_step: str | None
    log: str
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A git repository with an FDL file, and the account that its pipeline may use."""

    folder: Path
    cloud: CloudUnderTest
    roles: Mapping[str, Mapping[str, str]]
    """Variables with the credentials of `DeployRole` and `DiffRole`."""

    def change(self, fdl: str, branch: str) -> None:
        """Commit another FDL file to a branch."""
        git(self.folder, "switch", "--quiet", "--force-create", branch)
        (self.folder / "workflow.yaml").write_text(fdl)
        git(self.folder, "commit", "--quiet", "--allow-empty", "--all", "--message", "Change the workflow")

    def github(self, job: str, branch: str, role: str | None = None) -> Outcome:
        """Run the steps of a job; `branch` is that of the push, or the target of the pull request."""
        files = {name: self.folder.with_name(name) for name in ("GITHUB_ENV", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        resolved = {"github.base_ref || github.ref_name": branch}
        variables = {
            **{name: expanded(value, resolved) for name, value in WORKFLOW["env"].items()},
            **{name: str(file) for name, file in files.items()},
        }
        log, failed = "", None
        for step in WORKFLOW["jobs"][job]["steps"]:
            if "run" not in step or failed is not None:
                continue
            done = self.bash(expanded(step["run"], resolved), variables, role)
            log += done.stdout
            variables |= dict(
                line.split("=", 1) for line in files["GITHUB_ENV"].read_text().splitlines() if line
            )
            failed = None if done.returncode == 0 else step["name"]
        return Outcome(failed, log, variables)

    def gitlab(self, job: str, role: str | None = None, **variables: str) -> Outcome:
        """Run a job's lines in one shell, as GitLab's runner does."""
        definition = GITLAB[job]
        lines = [
            *(GITLAB[definition["extends"]]["before_script"] if "extends" in definition else ()),
            *definition["script"],
        ]
        token = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(self.folder.with_name("token")), "AWS_ID_TOKEN": "e30."}
        done = self.bash(
            "set -eo pipefail\n" + "\n".join(lines), {**GITLAB["variables"], **token, **variables}, role
        )
        return Outcome(None if done.returncode == 0 else job, done.stdout)

    def bash(
        self, lines: str, variables: Mapping[str, str], role: str | None
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **self.cloud.environment(),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",  # it is installed: nothing has to be fetched
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "SCAR_LOCAL_STATE": "/nonexistent",
            **(self.roles[role] if role else {}),
            **variables,
        }
        return subprocess.run(
            ["bash", "-e", "-c", lines],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
            check=False,
        )


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def expanded(text: str, resolved: Mapping[str, str]) -> str:
    """The text with the values of its `${{ … }}`: all of them have to be known here."""
    return re.sub(r"\$\{\{ *(.*?) *\}\}", lambda found: resolved[found[1]], text)


def credentials_of(cloud: CloudUnderTest, role: str) -> dict[str, str]:
    """Variables with credentials of a role, which from now on trusts this account instead of OIDC."""
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "000000000000"}}
    cloud.client("iam").update_assume_role_policy(
        RoleName=role, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    arn = cloud.client("iam").get_role(RoleName=role)["Role"]["Arn"]
    made = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="pipeline")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "AWS_SESSION_TOKEN": made["SessionToken"],
    }


@pytest.fixture(scope="module")
def trust() -> dict[str, Any]:
    """The trust policies of the two roles, as they are deployed."""
    return {}


@pytest.fixture(scope="module")
def project(
    cloud: CloudUnderTest, trust: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(
        StackName="scar-pipeline",
        TemplateBody=ROLES.read_text(),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            {"ParameterKey": "Repository", "ParameterValue": "octo-org/pipeline"},
            {"ParameterKey": "ProviderArn", "ParameterValue": PROVIDER},
        ],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="scar-pipeline", WaiterConfig={"Delay": 1}
    )
    outputs = cloudformation.describe_stacks(StackName="scar-pipeline")["Stacks"][0]["Outputs"]
    names = {one["OutputKey"]: one["OutputValue"].rpartition("/")[2] for one in outputs}
    for key, name in names.items():
        trust[key] = cloud.client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    roles = {key.removesuffix("Arn"): credentials_of(cloud, name) for key, name in names.items()}

    folder = tmp_path_factory.mktemp("pipeline") / "project"
    folder.mkdir()
    key, _equals, mirrors = registry(folder.parent).partition("=")
    (folder / "cdk.json").write_text(json.dumps({"app": "scar-app", "context": {key: mirrors}}))
    (folder / "words.sh").write_text(
        '#!/bin/sh\nwc -w < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}.words"\n'
    )
    (folder / "workflow.yaml").write_text(FDL)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "A workflow")
    return Project(folder, cloud, roles)


@pytest.fixture(scope="module")
def deployed(project: Project) -> Project:
    """The workflow of `main`, deployed by its pipeline."""
    for job, role in (("validate", None), ("deploy", "DeployRole")):
        outcome = project.github(job, "main", role)
        assert outcome.failed_step is None, outcome.log
    assert outcome.variables["STAGE"] == "prod"
    return project


def test_the_roles_trust_one_repository_and_its_two_branches(project: Project, trust: dict[str, Any]) -> None:
    host = "token.actions.githubusercontent.com"
    subjects = {}
    for role, document in trust.items():
        (statement,) = document["Statement"]
        assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert statement["Principal"] == {"Federated": PROVIDER}
        assert statement["Condition"]["StringEquals"] == {f"{host}:aud": "sts.amazonaws.com"}
        (subjects[role],) = statement["Condition"]["StringLike"].values()
    assert subjects == {
        "DeployRoleArn": [f"repo:octo-org/pipeline:ref:refs/heads/{name}" for name in ("main", "develop")],
        "DiffRoleArn": "repo:octo-org/pipeline:pull_request",
    }


def test_a_push_to_main_deploys_prod_with_the_rights_of_the_deploy_role(deployed: Project) -> None:
    names = [one["FunctionName"] for one in deployed.cloud.client("lambda").list_functions()["Functions"]]
    assert "pipeline-words-prod" in names


def test_a_push_to_develop_is_of_another_stage(project: Project) -> None:
    for job in ("diff", "deploy"):
        (choose,) = (one for one in WORKFLOW["jobs"][job]["steps"] if one.get("name") == "Choose the stage")
        for branch, stage in (("main", "prod"), ("develop", "dev")):
            file = project.folder.with_name(f"env-{job}-{branch}")
            project.bash(choose["run"], {"BRANCH": branch, "GITHUB_ENV": str(file)}, None)
            assert file.read_text() == f"STAGE={stage}\n"


def test_a_pull_request_with_a_mistake_fails_and_leaves_sarif_at_its_line(project: Project) -> None:
    broken = FDL.replace("      container:", "      memmory: 512\n      container:")
    line = 1 + broken.splitlines().index("      memmory: 512")
    project.change(broken, "mistake")
    (show,) = (one for one in WORKFLOW["jobs"]["validate"]["steps"] if "upload-sarif" in one.get("uses", ""))
    assert show["if"] == "${{ !cancelled() }}", "the upload runs although the step before has failed"
    runs: list[tuple[Callable[[], Outcome], str, str]] = [
        (lambda: project.github("validate", "main"), "Check the FDL file", show["with"]["sarif_file"]),
        (lambda: project.gitlab("validate"), "validate", GITLAB["validate"]["artifacts"]["reports"]["sarif"]),
    ]
    for run, step, sarif in runs:
        (project.folder / sarif).unlink(missing_ok=True)
        outcome = run()
        assert outcome.failed_step == step, outcome.log
        assert "memmory" in outcome.log
        (result,) = json.loads((project.folder / sarif).read_text())["runs"][0]["results"]
        (place,) = result["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] == "workflow.yaml"
        assert place["physicalLocation"]["region"]["startLine"] == line


def test_a_pull_request_that_removes_a_bucket_shows_that_first(deployed: Project) -> None:
    deployed.change(FDL.replace(EXTRA, ""), "fewer-buckets")
    outcome = deployed.github("diff", "main", "DiffRole")
    assert outcome.failed_step is None, outcome.log
    comment = (deployed.folder / "comment.md").read_text()
    marker, _blank, title, _blank, first, _blank, entry, *_more = comment.splitlines()
    assert marker.startswith("<!-- scar-diff workflow-prod")
    assert title.startswith("### `workflow-prod")
    assert first == "**Destructive changes**"
    assert re.match(r"- bucket `pipeline-extra\S*`: Removed from the stack and kept with its files\.", entry)
    assert "- changed function `pipeline-words-prod` (`settings in the FDL file: changed`" in comment
    assert Path(outcome.variables["GITHUB_STEP_SUMMARY"]).read_text() == comment


def test_the_diff_role_changes_nothing(deployed: Project) -> None:
    keys = deployed.roles["DiffRole"]
    session = boto3.Session(
        keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"]
    )
    for service, call, words in (
        ("cloudformation", "delete_stack", {"StackName": "workflow-prod"}),
        ("s3", "get_object", {"Bucket": "pipeline-out-prod", "Key": "counts/"}),
        ("lambda", "get_function", {"FunctionName": "pipeline-words-prod"}),
        ("sts", "assume_role", {"RoleArn": CDK_ROLE, "RoleSessionName": "attack"}),
    ):
        client = session.client(service, endpoint_url=deployed.cloud.endpoint, region_name="us-east-1")
        with pytest.raises(ClientError, match="AccessDenied"):
            getattr(client, call)(**words)


@dataclass
class Notes:
    """The notes of a merge request, as GitLab's API has them."""

    notes: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)

    @property
    def bodies(self) -> list[str]:
        return [note["body"] for note in self.notes]


@pytest.fixture
def notes() -> Iterator[tuple[Notes, str]]:
    kept = Notes([{"id": 7, "body": "Looks good"}])

    class Handler(BaseHTTPRequestHandler):
        def answer(self, answer: object) -> None:
            kept.tokens.append(self.headers["PRIVATE-TOKEN"])
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def sent(self) -> str:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            return urllib.parse.parse_qs(text)["body"][0]

        def do_GET(self) -> None:
            self.answer(kept.notes)

        def do_POST(self) -> None:
            kept.notes.append({"id": 8, "body": self.sent()})
            self.answer(kept.notes[-1])

        def do_PUT(self) -> None:
            (note,) = (one for one in kept.notes if self.path.endswith(f"/notes/{one['id']}"))
            note["body"] = self.sent()
            self.answer(note)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kept, f"http://127.0.0.1:{server.server_port}/api/v4"
        server.shutdown()


def test_gitlab_compares_and_comments_once(deployed: Project, notes: tuple[Notes, str]) -> None:
    kept, api = notes
    request = {
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_API_V4_URL": api,
        "CI_PROJECT_ID": "1",
        "CI_MERGE_REQUEST_IID": "2",
        "NO_PROXY": "127.0.0.1",
    }
    deployed.change(FDL.replace(EXTRA, ""), "fewer-buckets-on-gitlab")
    outcome = deployed.gitlab("diff", "DiffRole", **request)
    assert outcome.failed_step is None, outcome.log
    assert "**Destructive changes**\n\n- bucket `pipeline-extra" in outcome.log
    assert kept.bodies == ["Looks good"], "no token, no comment"
    # The lines after the comparison, again: the first time they add a comment, later they update it.
    comment = deployed.folder / "comment.md"
    (*_compare, post) = GITLAB["diff"]["script"]
    for text in (comment.read_text(), "<!-- scar-diff workflow -->\n\nNo changes to `workflow`.\n"):
        comment.write_text(text)
        kept.notes[1:] = [{**note, "body": f"{text.splitlines()[0]}\nolder"} for note in kept.notes[1:]]
        done = deployed.bash(
            f"set -eo pipefail\n{post}", {**request, "COMMENT_TOKEN": "token-of-the-project"}, None
        )
        assert done.returncode == 0, done.stdout
        assert [body.strip() for body in kept.bodies] == ["Looks good", text.strip()]
    assert set(kept.tokens) == {"token-of-the-project"}


@pytest.fixture(scope="module")
def two_stages(deployed: Project) -> Project:
    """The workflow of `develop`, deployed by GitLab's pipeline beside that of `main`."""
    deployed.change(FDL, "develop")
    outcome = deployed.gitlab("deploy", "DeployRole", CI_COMMIT_BRANCH="develop")
    assert outcome.failed_step is None, outcome.log
    assert "pipeline-words-dev" in outcome.log
    return deployed


def results(project: Project, stage: str, count: int) -> list[str]:
    """The files that the stage has made, as soon as there are so many of them."""

    def made() -> list[str]:
        found = keys(project.cloud, f"pipeline-out-{stage}", "counts/")
        return [key for key in found if not key.endswith("/")]

    return list(until(made, lambda found: len(found) == count, 60))


def test_two_stages_share_nothing_and_one_goes_alone(two_stages: Project) -> None:
    project, scar = two_stages, Scar(two_stages.cloud)
    fdl = str(project.folder / "workflow.yaml")

    def put(name: str, stage: str) -> None:
        file = project.folder.with_name(name)
        file.write_text("one two two\n")
        scar("put", "-b", "pipeline-in/texts", "--stage", stage, "-p", str(file))

    put("for-dev.txt", "dev")
    put("for-prod.txt", "prod")
    assert results(project, "dev", 1) == ["counts/for-dev.txt.words"]
    assert results(project, "prod", 1) == ["counts/for-prod.txt.words"]

    listed = scar.json("ls", "-f", fdl, "--stage", "dev")["Functions"]
    assert [(one["Name"], one["Stack"], one["Stage"]) for one in listed] == [
        ("pipeline-words-dev", "workflow-dev", "dev")
    ]
    assert "STAGE" in scar("ls").stdout
    assert scar("run", "-n", "pipeline-words", "--stage", "prod", "echo", "hi").stdout == "hi\n"
    launched = json.loads(scar("run", "-f", fdl, "--stage", "prod", "-j").stdout)
    assert (launched["function"], launched["sent"]) == ("pipeline-words-prod", 1)
    assert "for-prod.txt" in scar("ls", "-b", "pipeline-out/counts", "--stage", "prod").stdout

    for verb in (("ls",), ("rm", "-y")):
        refused = scar(*verb, "-f", fdl, code=2).stderr
        assert "is not deployed without a stage. Its stages are dev, prod: add --stage dev" in refused
    scar("rm", "-f", fdl, "--stage", "dev", "-y")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        project.cloud.client("lambda").get_function(FunctionName="pipeline-words-dev")
    put("later.txt", "prod")
    assert "counts/later.txt.words" in results(project, "prod", 2)
    scar("rm", "-a", "--stage", "prod", "-y")
    assert scar.json("ls", "--stage", "prod")["Functions"] == []
