"""The plan of a launch, and what an interruption says at any moment after it."""

from __future__ import annotations

import json
import socket
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from scar_cli.aws import deployed
from scar_cli.aws.deployed import DeployedFunction, DeployedStack
from scar_cli.commands import launch as command
from scar_cli.errors import UserError
from scar_cli.launch.distributed import launch_distributed
from scar_cli.launch.journal import Journal
from scar_cli.launch.plan import LaunchOptions, Plan, explained_end, plan_launch
from tests.loopback_aws import FDL


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> socket.socket:
    """What AWS is to this test: somebody who listens, and hears what is said."""
    listening = socket.create_server(("127.0.0.1", 0))
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{listening.getsockname()[1]}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "fan.yaml").write_text(FDL)
    return listening


def planned(tmp_path: Path, **options: object) -> Plan:
    return plan_launch(LaunchOptions(fdl=str(tmp_path / "fan.yaml"), **options))  # type: ignore[arg-type]


def test_a_plan_sends_nothing_writes_nothing_and_does_not_change(
    listener: socket.socket, tmp_path: Path
) -> None:
    plan = planned(tmp_path, rate="120/min")
    assert (plan.function.name, plan.region, plan.cloud, plan.rate) == ("fan", "eu-west-1", "embedded", 2.0)
    assert [str(source) for source in plan.selection.sources] == ["bucket/in"]
    assert not (tmp_path / "state").exists()
    listener.settimeout(10)
    connection, _address = listener.accept()
    assert connection.recv(1) == b"", "it is only looked whether somebody listens"
    connection.close()
    listener.close()
    with pytest.raises(FrozenInstanceError):
        plan.region = "us-east-1"  # type: ignore[misc]


def test_a_plan_that_goes_on_takes_its_options_from_the_journal(
    listener: socket.socket, tmp_path: Path
) -> None:
    first = planned(tmp_path, match="*.jpg", limit=7)
    head = {"launch": "scar-launch-1", "since_ms": 1, **first.described()}
    Journal.create(first.journal, head).close()
    again = plan_launch(LaunchOptions(resume=str(first.journal), concurrency=4))
    listener.close()
    assert (again.options.match, again.options.limit, again.function.name) == ("*.jpg", 7, "fan")
    assert again.selection == first.selection
    assert again.described() == json.loads(json.dumps(first.described()))
    assert again.resume_command == f"scar-launch --resume {first.journal} --concurrency 4"


def test_a_launch_in_a_stage_takes_the_names_of_what_is_deployed_there(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of an existing bucket, which has the same name in every stage."""

    def deploy(stage: str, path: str) -> None:
        function = DeployedFunction(
            f"fan-{stage}", "s", "eu-west-1", "lambda", "g", "q", inputs=(path,), stage=stage
        )
        stack = DeployedStack("s", "eu-west-1", "CREATE_COMPLETE", "fan", (function,), (), stage)
        monkeypatch.setattr(deployed, "stacks", lambda _regions: [stack])

    deploy("dev", "bucket-x-dev/in")
    plan = planned(tmp_path, stage="dev", bucket_suffix="x", bucket_path="bucket/in/a")
    assert plan.function.name == "fan-dev"
    assert [str(source) for source in plan.selection.sources] == ["bucket-x-dev/in/a"]
    head = {"launch": "scar-launch-1", "since_ms": 1, **plan.described()}
    Journal.create(plan.journal, head).close()
    again = plan_launch(LaunchOptions(resume=str(plan.journal)))
    assert (again.function.name, again.selection) == ("fan-dev", plan.selection)

    deploy("qa", "bucket/in")
    plan = planned(tmp_path, stage="qa")
    assert [str(source) for source in plan.selection.sources] == ["bucket/in"]
    deploy("qa", "bucket-qa/elsewhere")
    with pytest.raises(UserError, match="The inputs or outputs of fan-qa as deployed differ"):
        planned(tmp_path, stage="qa")
    listener.close()


@pytest.mark.parametrize(("rate", "planned_rate"), [(None, 40.0), ("120/s", 40.0), ("5/s", 5.0)])
def test_jobs_that_lambda_submits_one_by_one_stay_below_the_limit_of_batch(
    rate: str | None, planned_rate: float, listener: socket.socket, tmp_path: Path
) -> None:
    (tmp_path / "fan.yaml").write_text(
        FDL.replace("name: fan", "name: fan\n      execution_mode: batch")
        + "    batch: {multi_node_parallel: {enabled: true, number_nodes: 2}}\n"
    )
    plan = planned(tmp_path, rate=rate)
    listener.close()
    assert (plan.in_arrays, plan.rate) == (False, planned_rate)


@pytest.mark.parametrize(
    ("several", "advice"),
    [
        (False, "Omit --distributed: array jobs submit up to 10,000 files with one call"),
        (True, "Omit --distributed"),
    ],
)
def test_a_function_in_batch_mode_has_no_distributed_launch(
    several: bool, advice: str, listener: socket.socket, tmp_path: Path
) -> None:
    nodes = "    batch: {multi_node_parallel: {enabled: true, number_nodes: 2}}\n" if several else ""
    (tmp_path / "fan.yaml").write_text(
        FDL.replace("name: fan", "name: fan\n      execution_mode: batch") + nodes
    )
    plan = planned(tmp_path)
    listener.close()
    with pytest.raises(
        UserError, match=r"^fan is in batch mode, which does not support --distributed"
    ) as caught:
        launch_distributed(plan, None, shown=False)
    assert caught.value.advice == advice


def test_an_interruption_between_two_steps_says_how_to_go_on_once_there_is_a_journal(
    listener: socket.socket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned(tmp_path)
    listener.close()
    with pytest.raises(KeyboardInterrupt), command._telling_how_to_go_on(plan):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""
    plan.journal.parent.mkdir(parents=True)
    plan.journal.touch()
    with pytest.raises(KeyboardInterrupt), command._telling_how_to_go_on(plan):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == f"To resume: scar-launch --resume {plan.journal}\n"
    with (
        pytest.raises(KeyboardInterrupt),
        command._telling_how_to_go_on(plan),
        explained_end(lambda: "Go on waiting: so"),
    ):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "Go on waiting: so\n"


def test_an_error_that_ends_a_launch_has_both_advices_and_one_without_a_journal_stays_as_it_is() -> None:
    both = pytest.raises(UserError, match=r"^No\. Look\. To resume: x\.$")
    with both as caught, explained_end(lambda: "To resume: x"):
        raise UserError("No", "Look")
    assert caught.value.exit_code == 1
    with pytest.raises(UserError, match=r"^No\. Look\.$") as caught, explained_end(lambda: ""):
        raise UserError("No", "Look")
    assert caught.value.exit_code == 2
