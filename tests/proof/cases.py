"""Each example: its inputs, and the outputs that have to come of them. The tests and the proof share these.

A case runs as often as one likes: `tag` is part of the names of its files.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.proof.place import TEXT, Place

Run = Callable[[Place, str], None]


@dataclass(frozen=True)
class Case:
    """One folder of examples/."""

    example: str
    run: Run
    """Puts files in, waits for the results, and checks them.

    Raises:
        AssertionError: a result is missing or wrong.
    """
    left_out_on_aws: str | None = None
    """Why it cannot be proved on AWS."""
    invocations: int = 4
    """Of each function in one run, at most."""


def single_function(place: Place, tag: str) -> None:
    place.put("scar-words", f"texts/cats and dogs {tag}.txt")
    (counts,) = place.results("scar-words", f"counts/cats and dogs {tag}.txt.words")
    expected = [["3", "the"], ["2", "and"], ["1", "cat"], ["1", "dog"], ["1", "end"]]
    assert [line.split() for line in counts.decode().splitlines()] == expected
    _log(place, "single-function", tag)


def filters(place: Place, tag: str) -> None:
    table = b"10:00,20.5\n10:01,broken\n"
    for key in ("incoming/probe", "incoming/sensor", "by-hand/ann"):
        place.put("scar-measurements", f"{key}-{tag}.csv", table)
    place.put("scar-measurements", f"incoming/sensor-{tag}.txt", table)
    expected = {}
    for name in (f"sensor-{tag}.csv", f"ann-{tag}.csv"):
        for folder in ("good", "archive"):
            expected[f"{folder}/good-{name}"] = b"10:00,20.5\n"
        for folder in ("bad", "archive"):
            expected[f"{folder}/bad-{name}"] = b"10:01,broken\n"
        expected[f"archive/summary-{name}.txt"] = b"1 good, 1 bad\n"
    assert place.results("scar-measurements", *expected) == list(expected.values())
    made = [key for key in place.keys("scar-measurements") if tag in key]
    assert sorted(key for key in made if not key.startswith(("incoming/", "by-hand/"))) == sorted(expected)
    _log(place, "filters", tag)


def shared_input(place: Place, tag: str) -> None:
    place.put("scar-shared", f"incoming/letter-{tag}.txt")
    packed, checksum = place.results(
        "scar-shared", f"compressed/letter-{tag}.txt.gz", f"checksums/letter-{tag}.txt.sha256"
    )
    assert gzip.decompress(packed) == TEXT
    assert checksum.decode().split() == [hashlib.sha256(TEXT).hexdigest(), f"letter-{tag}.txt"]
    _log(place, "shared-input", tag)


def http_endpoint(place: Place, tag: str) -> None:
    body = TEXT + tag.encode()
    expected = {"bytes": len(body), "md5": hashlib.md5(body).hexdigest()}
    # An address of API Gateway answers a few seconds after it is deployed.
    place.until(lambda: place.call("http-endpoint").text.startswith("POST a file here."), "the word of help")
    answer = place.call("http-endpoint", body, "?algorithm=md5")
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert json.loads(answer.text) == expected
    accepted = place.call("http-endpoint", body, "?algorithm=md5", {"X-Amz-Invocation-Type": "Event"})
    assert accepted.status == 202
    request_id = json.loads(accepted.text)["request_id"]
    (result,) = place.results("scar-checksums", f"answers/{request_id}.json")
    assert json.loads(result) == expected
    refused = place.call("http-endpoint", body, "?algorithm=rot13")
    assert (refused.status, json.loads(refused.text)["error"]) == (500, "ScriptFailed")
    _log(place, "http-endpoint")


def lambda_batch(place: Place, tag: str) -> None:
    place.put("scar-crunch", f"orders/long-{tag}", b"11\n")
    place.put("scar-crunch", f"orders/short-{tag}", b"1\n")
    done = place.results("scar-crunch", f"results/short-{tag}.done", f"results/long-{tag}.done")
    assert done == [b"1 steps\n", b"11 steps\n"]
    (function,) = place.deployed("lambda-batch")
    group = function["batch_log_group"]
    in_batch = place.until(lambda: place.summaries(group, tag), "the log of the job")
    assert [summary["status"] for summary in in_batch] == ["done"]
    in_lambda = {summary["status"] for summary in place.summaries(function["log_group"], tag)}
    assert in_lambda == {"done", "delegated"}


def several_nodes(place: Place, tag: str) -> None:
    place.put("scar-sums", f"numbers/{tag}", "".join(f"{number}\n" for number in range(1, 101)).encode())
    assert place.results("scar-sums", f"sums/{tag}.sum") == [b"5050\n"]


def gpu(place: Place, tag: str) -> None:
    place.put("scar-gpu", f"in/{tag}", b"hello\n")
    assert place.results("scar-gpu", f"out/{tag}.gpu") == [b"no GPU\n"]


def image_file(place: Place, tag: str) -> None:
    place.put("scar-letters", f"plain/letter-{tag}.txt", b"Veni, vidi, vici\n")
    assert place.results("scar-letters", f"shifted/letter-{tag}.txt") == [b"Yhql, ylgl, ylfl\n"]
    _log(place, "image-file", tag)


def several_providers(place: Place, tag: str) -> None:
    place.put("scar-deliveries", f"incoming/letter-{tag}.txt")
    packed, report = place.results(
        "scar-deliveries", f"done/letter-{tag}.txt.gz", f"done/letter-{tag}.txt.txt"
    )
    assert gzip.decompress(packed) == TEXT
    assert hashlib.sha256(TEXT).hexdigest() in report.decode()
    # The bucket of the function's own account is the first of the outputs: the others may come later.
    lab, office = place.neighbours.lab.client(), place.neighbours.office

    def in_the_lab() -> bool:
        listed = lab.list_objects_v2(Bucket="deliveries").get("Contents", [])
        return f"packed/letter-{tag}.txt.gz" in [entry["Key"] for entry in listed]

    place.until(in_the_lab, "the packed file on the MinIO server")
    stored = lab.get_object(Bucket="deliveries", Key=f"packed/letter-{tag}.txt.gz")["Body"].read()
    assert stored == packed
    name = f"reports/deliveries/letter-{tag}.txt.txt"
    assert place.until(lambda: office.watch.files().get(name), "the report on the WebDAV server") == report


def sns_fed(place: Place, tag: str) -> None:
    name = f"OR_ABI-L2-LSTF-M6_G19_{tag}.nc"
    wanted = f"ABI-L2-LSTF/2026/002/03/{name}"
    # The first is not in the bucket: a notification that the filters do not let through costs nothing.
    place.neighbours.publish("ABI-L1b-RadF/2026/002/03/OR_ABI-L1b-RadF-M6C01_G19.nc")
    place.neighbours.publish(wanted, TEXT)
    (description,) = place.results("scar-satellite", f"descriptions/{name}.json")
    expected = {"key": wanted, "bytes": len(TEXT), "sha256": hashlib.sha256(TEXT).hexdigest()}
    assert json.loads(description) == expected
    (function,) = place.deployed("sns-fed")
    # One run: the first notification started none.
    runs = place.until(lambda: place.summaries(function["log_group"], tag), "the log of the run")
    assert [summary["status"] for summary in runs] == ["done"]
    assert {summary["status"] for summary in place.summaries(function["log_group"])} == {"done"}


def vpc_efs(place: Place, tag: str) -> None:
    """Deployed only: there is no file system with a database."""
    (stack,) = place.client("cloudformation").describe_stacks(StackName=place.stack("vpc-efs"))["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE", tag


def video_process(place: Place, tag: str) -> None:
    from tests.proof.neighbours import SECONDS, video

    place.empty("scar-video", "output/")  # names of results do not depend on the name of the video
    place.put("scar-video", f"input/{tag}.avi", video().read_bytes())
    results = place.results("scar-video", *(f"output/out{second:03}.out" for second in range(1, SECONDS + 1)))
    assert any(b"person" in result for result in results), "nobody is seen in the video"
    for function in place.deployed("video-process"):
        group = function.get("batch_log_group") or function["log_group"]
        assert {one["status"] for one in place.summaries(group)} == {"done"}


def _log(place: Place, example: str, tag: str = "") -> None:
    """Keep the log lines of the runs as evidence: each says that it is done."""
    for function in place.deployed(example):
        told = place.until(
            lambda group=function["log_group"]: place.summaries(group, tag),  # type: ignore[misc]
            f"the log of {function['name']}",
        )
        assert "done" in {one["status"] for one in told}


CASES = [
    Case("filters", filters),
    Case("gpu", gpu, "most accounts have no quota for instances with a GPU"),
    Case("http-endpoint", http_endpoint),
    Case("image-file", image_file),
    Case("lambda-batch", lambda_batch),
    Case(
        "several-providers",
        several_providers,
        "it needs a MinIO and a WebDAV server that AWS can reach",
    ),
    Case("several-nodes", several_nodes),
    Case("shared-input", shared_input),
    Case("single-function", single_function),
    Case(
        "sns-fed",
        sns_fed,
        "the topic is NOAA's, which publishes about once an hour, and nobody else can publish to it",
    ),
    Case("video-process", video_process, invocations=70),
    Case(
        "vpc-efs",
        vpc_efs,
        "it needs a VPC and an EFS file system with a protein database; the example holds made-up ids",
    ),
]
