"""`scar` on a deployed workflow: ls, run, invoke, log, status and retry, on one stack."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import examples
from tests.cloud.embedded import SCAR, CloudUnderTest, until
from tests.cloud.scar_command import Scar, registry
from tests.terminal import LEAVES_THE_SCREEN, in_terminal

pytestmark = pytest.mark.cloud

BUCKET = "verb-files"
SCRIPTS = {
    "copy.sh": '#!/bin/sh\necho "copying $STORAGE_OBJECT_KEY"\ncp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"\n',
    # The input holds the URL of another object: as long as that is missing, the file cannot be processed.
    "picky.sh": """#!/bin/sh
echo "looking at $STORAGE_OBJECT_KEY"
wget -q -O /dev/null "$(cat "$INPUT_FILE_PATH")" || { echo not yet; exit 7; }
cp -- "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/"
""",
    "answer.sh": """#!/bin/sh
echo "hello $name"
[ -z "$INPUT_FILE_PATH" ] || wc -c < "$INPUT_FILE_PATH"
""",
}
FDL = f"""functions:
  aws:
  - lambda:
      name: verb-copy
      memory: 256
      timeout: 60
      init_script: copy.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/in}}]
      output:
      - {{storage_provider: s3, path: {BUCKET}/out}}
  - lambda:
      name: verb-picky
      timeout: 60
      init_script: picky.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/picky}}]
      output: [{{storage_provider: s3, path: {BUCKET}/picked}}]
  - lambda:
      name: verb-job
      execution_mode: batch
      init_script: picky.sh
      container: {{image: "busybox:1.37"}}
      input: [{{storage_provider: s3, path: {BUCKET}/jobs}}]
      output: [{{storage_provider: s3, path: {BUCKET}/job-out}}]
    batch: {{attempts: 1}}
  - lambda:
      name: verb-http
      timeout: 60
      init_script: answer.sh
      container: {{image: "busybox:1.37"}}
    api_gateway: {{name: verb-api}}
  - lambda:
      name: verb-key
      timeout: 60
      init_script: answer.sh
      container: {{image: "busybox:1.37"}}
    api_gateway: {{name: verb-key, auth: API_KEY}}
  - lambda:
      name: verb-iam
      timeout: 60
      init_script: answer.sh
      container: {{image: "busybox:1.37"}}
    api_gateway: {{name: verb-iam, auth: AWS_IAM}}
"""


@pytest.fixture(scope="module")
def scar(cloud: CloudUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Scar:
    """The command, with `verbs.yaml` deployed."""
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    folder = tmp_path_factory.mktemp("verbs")
    scar = Scar(cloud, registry(folder))
    monitoring = ["-c", "dashboard=true", "-c", f"alarm_topic={alarm_topic(cloud)}"]
    done = scar.process("init", "-f", _written(folder), "-c", scar.mirrors, *monitoring, "-y")
    assert f"verb-copy is deployed. To run it:  scar put -b {BUCKET}/in -p FILE" in done.stdout
    assert "verb-http is deployed. To call it:  scar invoke -n verb-http\n  URL: http://" in done.stdout
    return scar


def alarm_topic(cloud: CloudUnderTest) -> str:
    """A topic that alarms of the account may notify, and whose messages the queue `verb-alarms` gets."""
    sns, sqs = cloud.client("sns"), cloud.client("sqs")
    topic = f"arn:aws:sns:{cloud.running.region}:000000000000:verb-alarms"
    for_alarms = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": topic,
        "Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}},
    }
    for_topic = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "*",
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policies = [
        {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})}
        for statement in (for_alarms, for_topic)
    ]
    sns.create_topic(Name="verb-alarms", Attributes=policies[0])
    queue = sqs.create_queue(QueueName="verb-alarms", Attributes=policies[1])["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return topic


@pytest.fixture(scope="module")
def fdl(scar: Scar, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The FDL file in another folder than the one that it was deployed from."""
    return _written(tmp_path_factory.mktemp("verbs-again"))


def _written(folder: Path) -> str:
    for name, text in {**SCRIPTS, "verbs.yaml": FDL}.items():
        (folder / name).write_text(text)
    return str(folder / "verbs.yaml")


# ls


def test_ls_lists_functions_in_the_shape_that_scripts_parse(scar: Scar, fdl: str) -> None:
    functions = {entry["Name"]: entry for entry in scar.json("ls")["Functions"]}
    assert set(functions) >= {"verb-copy", "verb-picky", "verb-job", "verb-http", "verb-key", "verb-iam"}
    copy = functions["verb-copy"]
    assert (copy["Memory"], copy["Timeout"], copy["Image_id"]) == (256, 60, "busybox:1.37")
    assert copy["Api_gateway"] == "-"
    assert functions["verb-http"]["Api_gateway"].startswith(f"{scar.cloud.endpoint}/"), "where it works"
    assert functions["verb-job"]["Mode"] == "batch"
    table = scar("ls", "-f", fdl).stdout.splitlines()
    assert len(table) == 7
    assert "256 MB" in next(line for line in table if line.startswith("verb-copy "))
    (detailed,) = scar.json("ls", "-n", "verb-copy", "-v")["Functions"]
    assert detailed.items() >= copy.items(), "with -v: the same keys, and Lambda's own as in SCAR"
    assert (detailed["FunctionName"], detailed["MemorySize"], detailed["PackageType"]) == (
        "verb-copy",
        256,
        "Image",
    )


def test_ls_of_a_name_shows_the_function_or_the_files_of_the_bucket(scar: Scar) -> None:
    details = scar("ls", "verb-copy").stdout.splitlines()
    assert details[0].split() == ["Name", "verb-copy"]
    assert ["Input", f"{BUCKET}/in"] in [line.split() for line in details]
    assert scar.json("ls", "verb-copy")["Functions"][0]["FunctionName"] == "verb-copy"
    scar.put(BUCKET, "listed/file.txt", b"x")
    assert "1 bytes  listed/file.txt" in scar("ls", f"{BUCKET}/listed").stdout
    assert "listed/file.txt" in scar("ls", BUCKET).stdout
    told = scar("ls", "nobody", code=2).stderr
    missing = f"The bucket nobody does not exist at {scar.cloud.endpoint}. Deployed functions: "
    assert told.startswith(f"scar: No function named nobody is deployed. {missing}")
    assert "cannot be combined" in scar("ls", "verb-copy", "-n", "verb-copy", code=2).stderr


def test_a_function_that_is_not_deployed_is_said_with_what_there_is(scar: Scar, tmp_path: Path) -> None:
    told = scar("ls", "-n", "nobody", code=2).stderr
    assert "No function named nobody is deployed. Deployed functions: " in told
    assert "verb-copy" in told
    other = tmp_path / "other.yaml"
    other.write_text("functions: {aws: [{lambda: {name: other, container: {image: busybox}}}]}")
    assert f"Deploy it: scar init -f {other}" in scar("ls", "-f", str(other), code=2).stderr


# log, status, retry


def test_the_log_of_a_request_holds_its_lines_and_no_others(scar: Scar) -> None:
    answers = [
        json.loads(
            scar.cloud.client("lambda")
            .invoke(FunctionName="verb-http", Payload=json.dumps({"cmd_args": ["echo", word]}))["Payload"]
            .read()
        )
        for word in ("apples", "pears")
    ]
    ids = [answer["request_id"] for answer in answers]
    shown = scar("log", "-n", "verb-http", "-ri", ids[1]).stdout
    assert "  pears\n" in shown
    assert "apples" not in shown
    assert "summary" in shown
    everything = scar("log", "-n", "verb-http", "--since", "1h").stdout
    output = scar("log", "-n", "verb-http", "-ri", ids[1], "--script").stdout
    assert output == "pears\n"
    assert "apples" in everything
    assert "pears" in everything
    first = json.loads(scar("log", "-n", "verb-http", "-j").stdout.splitlines()[0])
    by_stream = scar("log", "-n", "verb-http", "-ls", first["stream"], "--raw").stdout
    assert by_stream.startswith("START RequestId: ")
    assert "No log mentions" in scar("log", "-ri", "0-0", code=2).stderr


def test_failed_events_are_counted_and_can_be_sent_again(scar: Scar, fdl: str) -> None:
    """Of a function and of a job: the whole way to the failure queue, the status, the log, and back."""
    # Of this machine, a container reaches the endpoint alone.
    awaited = scar.cloud.client("s3").generate_presigned_url(
        "get_object", {"Bucket": BUCKET, "Key": "awaited"}
    )
    scar.put(BUCKET, "picky/a b.txt", awaited.encode())
    scar.put(BUCKET, "jobs/ü.txt", awaited.encode())

    sqs = scar.cloud.client("sqs")
    urls = {name: failure_queue(scar, name) for name in ("verb-picky", "verb-job")}

    def waiting() -> dict[str, int]:
        asked = {
            name: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
            for name, url in urls.items()
        }
        return {n: int(one["Attributes"]["ApproximateNumberOfMessages"]) for n, one in asked.items()}

    until(waiting, lambda found: found == {"verb-picky": 1, "verb-job": 1}, 120)
    status = {one["function"]: one for one in scar.json("status", code=1)["functions"]}
    assert status["verb-picky"]["failed"] == 3
    assert status["verb-job"]["failed"] == 1
    assert status["verb-job"]["queued"] == status["verb-job"]["running"] == 0
    assert status["verb-picky"]["reasons"] == {"ScriptFailed: The container exited with code 7": 3}
    assert status["verb-job"]["reasons"] == {"ScriptFailed: The container exited with code 7": 1}
    assert status["verb-picky"]["last_activity"].startswith("20")
    table = scar("status", code=1)
    assert "scar retry" in table.stderr
    failed = scar("log", "-n", "verb-picky", "--errors").stdout
    assert failed.count("error=") == 3, "each error once"
    assert "Traceback" not in failed
    assert failed.count("  not yet\n") == 3
    assert scar("log", "-n", "verb-picky", "--raw").stdout.count("Traceback") == 3
    log = scar("log", "-n", "verb-job").stdout
    assert log.index("submitted") < log.index("  looking at jobs/ü.txt") < log.index("  not yet")
    submitted = next(
        json.loads(line)["message"]
        for line in scar("log", "-n", "verb-job", "-j").stdout.splitlines()
        if '"submitted"' in line
    )
    of_request = scar("log", "-n", "verb-job", "-ri", submitted["request_id"]).stdout
    assert "submitted" in of_request
    assert "  not yet" in of_request

    report = scar.json("report", "-f", fdl, "--since", "1h")
    functions = {one["name"]: one for one in report["functions"]}
    failures = {functions_of(report)[one["function"]]: one for one in report["failures"]}
    for name, key, attempts in (("verb-picky", "picky/a b.txt", 3), ("verb-job", "jobs/ü.txt", 1)):
        assert failures[name]["reason"] == "ScriptFailed: The container exited with code 7"
        assert failures[name]["names"] == [f"s3://{BUCKET}/{key}"]
        assert (failures[name]["runs"], failures[name]["files"]) == (
            attempts,
            functions[name]["failure_queue"],
        )
        assert failures[name]["examples"][0]["last_lines"].endswith("not yet")
        assert functions[name]["files"]["failed"] == 1
    rows = scar("report", "-n", "verb-picky", "--csv").stdout.splitlines()
    assert len(rows) == 1 + 3

    until(
        lambda: alarms_received(scar.cloud),
        lambda found: found == {"scar-failures-verb-picky", "scar-failures-verb-job"},
    )
    dashboard = numbers_of_dashboard(scar.cloud)
    assert dashboard["Events in failure queues"] == {"verb-picky": 1, "verb-job": 1}
    assert dashboard["Failed invocations of Lambda"]["verb-picky"] == 3
    assert dashboard["Throttled invocations"]["verb-picky"] == 0
    age = dashboard["Age of the oldest event, in seconds"]
    assert 0 < age["verb-picky"] < 120, "a retry is older than the first attempt"

    dry = {one["function"]: one["events"] for one in scar.json("retry", "--dry-run")["functions"]}
    assert dry["verb-picky"] == [f"{BUCKET}/picky/a b.txt"]
    limited = scar.json("retry", "--dry-run", "--limit", "1")["functions"]
    assert sum(len(one["events"]) for one in limited) == 1
    assert waiting()["verb-picky"] == 1
    sqs.send_message(QueueUrl=urls["verb-picky"], MessageBody="no event")
    scar.put(BUCKET, "awaited", b"here it is")
    assert "1 failed event was sent again." in scar("retry", "-n", "verb-job").stdout
    answer = scar.json("retry", "-f", fdl, code=1)
    assert {one["function"]: one["events"] for one in answer["functions"]}["verb-picky"] == [
        f"{BUCKET}/picky/a b.txt"
    ]
    until(lambda: (scar.keys(BUCKET, "picked"), scar.keys(BUCKET, "job-out")), all, 120)
    assert scar.keys(BUCKET, "picked") == ["picked/a b.txt"]
    assert scar.keys(BUCKET, "job-out") == ["job-out/ü.txt"]

    def recovered() -> dict[str, int]:
        functions = scar.json("report", "-f", fdl)["functions"]
        return {one["name"]: one["files"]["recovered"] for one in functions}

    # A run logs its summary after it has uploaded its outputs.
    until(recovered, lambda found: all(found[name] == 1 for name in urls), 60)
    assert waiting()["verb-picky"] == 1, "what cannot be read stays"
    sqs.purge_queue(QueueUrl=urls["verb-picky"])


def functions_of(report: dict[str, Any]) -> list[str]:
    return [one["name"] for one in report["functions"]]


_received: set[str] = set()


def alarms_received(cloud: CloudUnderTest) -> set[str]:
    """The names of the alarms of which the topic was notified so far."""
    sqs = cloud.client("sqs")
    url = sqs.get_queue_url(QueueName="verb-alarms")["QueueUrl"]
    for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", ()):
        notification = json.loads(json.loads(message["Body"])["Message"])
        assert notification["NewStateValue"] == "ALARM"
        _received.add(notification["AlarmName"])
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return _received


def numbers_of_dashboard(cloud: CloudUnderTest) -> dict[str, dict[str, float]]:
    """The numbers of each graph by the labels of its lines: sums, and otherwise the highest value."""
    cloudwatch = cloud.client("cloudwatch")
    (entry,) = cloudwatch.list_dashboards()["DashboardEntries"]
    body = cloudwatch.get_dashboard(DashboardName=entry["DashboardName"])["DashboardBody"]
    now = datetime.now(tz=UTC)
    graphs: dict[str, dict[str, float]] = {}
    for widget in json.loads(body)["widgets"]:
        if widget["type"] != "metric":
            continue
        properties = widget["properties"]
        queries: list[dict[str, Any]] = []
        for number, (*path, options) in enumerate(properties["metrics"]):
            query = {"Id": options.get("id", f"q{number}"), "ReturnData": options.get("visible", True)}
            if "label" in options:
                query["Label"] = options["label"]
            if path:
                namespace, name, *dimensions = path
                pairs = zip(dimensions[::2], dimensions[1::2], strict=True)
                query["MetricStat"] = {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": name,
                        "Dimensions": [{"Name": key, "Value": value} for key, value in pairs],
                    },
                    "Period": properties["period"],
                    "Stat": options["stat"],
                }
            else:
                query["Expression"] = options["expression"]
            queries.append(query)
        found = cloudwatch.get_metric_data(
            MetricDataQueries=queries, StartTime=now - timedelta(hours=2), EndTime=now + timedelta(minutes=1)
        )["MetricDataResults"]
        assert {result["StatusCode"] for result in found} == {"Complete"}, properties["title"]
        is_count = "oldest" not in properties["title"] and "queues" not in properties["title"]
        graphs[properties["title"]] = {
            result["Label"]: (sum if is_count else max)(result["Values"])
            for result in found
            if result["Values"]
        }
    return graphs


def failure_queue(scar: Scar, function: str) -> str:
    (stack,) = scar.cloud.client("cloudformation").describe_stacks(StackName="verbs")["Stacks"]
    (value,) = [o["OutputValue"] for o in stack["Outputs"] if o["OutputKey"] == "ScarWorkflow"]
    (url,) = [f["failure_queue_url"] for f in json.loads(value)["functions"] if f["name"] == function]
    return str(url)


# run, invoke


def test_run_gives_a_command_or_a_script_to_the_container_and_shows_its_output(
    scar: Scar, fdl: str, tmp_path: Path
) -> None:
    assert scar("run", "-n", "verb-http", "echo", "-n", "a b").stdout == "a b\n"
    script = tmp_path / "script.sh"
    script.write_text("#!/bin/sh\necho from the script\n")
    output = tmp_path / "output.txt"
    scar("run", "-f", fdl, "-n", "verb-http", "-s", str(script), "-o", str(output))
    assert output.read_text() == "from the script\n"


def test_run_answers_in_the_shape_that_scripts_parse(scar: Scar) -> None:
    told = json.loads(scar("run", "-n", "verb-http", "-j", "echo", "hi").stdout)["LambdaOutput"]
    assert (told["StatusCode"], told["Payload"], told["LogGroupName"]) == (
        200,
        "hi",
        "/aws/lambda/verb-http",
    )
    assert told["RequestId"] in scar("log", "-n", "verb-http", "-ls", told["LogStreamName"]).stdout


def test_run_says_what_failed_and_where_the_log_is(scar: Scar) -> None:
    failed = scar("run", "-n", "verb-http", "sh", "-c", "echo upside down; exit 7", code=1)
    assert "verb-http failed: " in failed.stderr
    assert "exited with code 7" in failed.stderr
    command = failed.stderr.splitlines()[-1].partition("scar log ")[2].split()
    assert "upside down" in scar("log", *command).stdout


def test_run_does_not_wait_if_told_so(scar: Scar) -> None:
    started = scar("run", "-a", "-n", "verb-http", "echo", "in", "the", "background").stdout
    command = started.strip().partition("scar log ")[2].split()
    until(lambda: "  in the background" in scar("log", *command, code=None).stdout, within_s=120)


def test_run_with_a_file_runs_on_what_is_in_the_input_folder(scar: Scar, fdl: str) -> None:
    scar.put(BUCKET, "in/launched.txt", b"x")
    until(lambda: "out/launched.txt" in scar.keys(BUCKET, "out"), within_s=120)
    scar.cloud.client("s3").delete_object(Bucket=BUCKET, Key="out/launched.txt")
    assert "verb-copy" in scar("run", "-f", fdl, "-n", "verb-copy").stdout
    until(lambda: "out/launched.txt" in scar.keys(BUCKET, "out"), within_s=120)
    in_folder = ("run", "-f", fdl, "-n", "verb-copy", "-ib")
    assert scar.json(*in_folder, f"{BUCKET}/in")["sent"] == 1
    assert scar.json(*in_folder, f"{BUCKET}/in/none")["sent"] == 0


def test_run_asks_which_function_where_there_are_several(scar: Scar) -> None:
    assert "Select one with -n" in scar("run", "echo", code=2).stderr


def test_invoke_calls_the_http_endpoint(scar: Scar, fdl: str, tmp_path: Path) -> None:
    assert scar("invoke", "-f", fdl, "-n", "verb-http", "-p", "name=a b").stdout == "hello a b\n"
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)))
    answer = scar.json("invoke", "-n", "verb-http", "-db", str(body), "-p", '{"name": "you"}')
    assert (answer["StatusCode"], answer["Payload"].split()) == (200, ["hello", "you", "256"])
    by_json = scar("invoke", "-n", "verb-http", "-jd", '{"a": 1}', "-o", str(tmp_path / "answer"))
    assert by_json.stdout == ""
    assert (tmp_path / "answer").read_text().split() == ["hello", "8"]
    assert scar.json("invoke", "-n", "verb-http", "-a")["StatusCode"] == 202
    refused = scar("invoke", "-n", "verb-http", "-p", "LD_PRELOAD=x", code=1)
    assert "responded with 400" in refused.stderr
    assert "Select one with -n" in scar("invoke", "-f", fdl, code=2).stderr
    assert "has no HTTP endpoint" in scar("invoke", "-n", "verb-copy", code=2).stderr


@pytest.mark.parametrize("name", ["verb-key", "verb-iam"])
def test_invoke_opens_endpoints_that_are_locked(scar: Scar, tmp_path: Path, name: str) -> None:
    """By the API key, which is shown nowhere, or by a signature; each holds for body and parameters too."""
    (function,) = scar.json("ls", "-n", name)["Functions"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(function["Api_gateway"])
    (tmp_path / "body").write_bytes(bytes(range(256)))
    answer = scar("invoke", "-n", name, "-db", str(tmp_path / "body"), "-p", "name=a b&ü", "-j")
    assert json.loads(answer.stdout)["Payload"].split() == ["hello", "a", "b&ü", "256"]
    keys = scar.cloud.client("apigateway").get_api_keys(includeValues=True)["items"]
    assert keys
    assert not any(key["value"] in str(answer) for key in keys)


# --follow and watch


def test_a_log_is_followed_while_it_is_written(scar: Scar) -> None:
    with scar.following("log", "-n", "verb-http", "--follow") as follower:
        assert follower.stdout is not None
        scar("run", "-n", "verb-http", "echo", "first of the followed")
        assert any("first of the followed" in line for line in follower.stdout)
        scar("run", "-n", "verb-http", "echo", "second of the followed")
        after = list(_up_to(follower.stdout, "second of the followed"))
        assert not any("first of the followed" in line for line in after), "each line comes once"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(30) == 130


def test_a_workflow_is_watched_while_it_runs(scar: Scar) -> None:
    """A run is counted while it is running, and its output is in the log by then."""
    words = ("watch", "-n", "verb-http")
    environment = {**scar.environment(), "TERM": "xterm-256color"}
    for fixed in ("COLUMNS", "LINES"):  # a size that is given does not change
        environment.pop(fixed, None)
    with (
        scar.following(*words, "-j") as follower,
        in_terminal([*SCAR, *words], environment, lines=24, columns=80) as terminal,
    ):
        assert follower.stdout is not None
        objects = (json.loads(line) for line in follower.stdout)
        (before,) = next(objects)["functions"]
        assert before["running"] == 0
        terminal.shows(r"verb-http +- +0 ")
        scar("run", "-a", "-n", "verb-http", "sh", "-c", "echo first line of a run; sleep 8")
        assert any(found["functions"][0]["running"] == 1 for found in objects)
        assert "first line of a run" in scar("log", "-n", "verb-http", "--script", "--tail", "1").stdout
        terminal.shows(r"verb-http +- +1 ")
        terminal.resize(40, 130)
        terminal.shows(r"INPUT +BATCH .*verb-http +- +- +0 ")
        functions = (found["functions"][0] for found in objects)
        assert any(one["done"] > before["done"] and one["running"] == 0 for one in functions)
        expected = scar("status", "-n", "verb-http", code=None).code
        for process in (follower, terminal.process):
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == expected
        summary = terminal.rest()
        assert summary.startswith(LEAVES_THE_SCREEN)
        assert re.search(r"FUNCTION +QUEUED +RUNNING .*\r\nverb-http +\? +0 ", summary)


def _up_to(lines: Iterable[str], last: str) -> Iterator[str]:
    for line in lines:
        yield line
        if last in line:
            return
