"""The document of a report, from log lines of synthetic runs."""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import jsonschema
import pytest

from benchmarks import synthetic_runs
from scar_cli.aws.logs import Line, groups
from scar_cli.report import chunks, document
from scar_cli.report.document import Asked
from scar_cli.runs.assembling import assembler
from scar_cli.runs.model import STAGES, Run
from scar_cli.runs.summary import Overview

INPUTS = 600
SCHEMA = json.loads(Path(document.__file__).with_name("report.schema.json").read_text())


@cache
def synthetic() -> list[Run]:
    return list(_synthetic())


def _synthetic() -> Iterator[Run]:
    for function in synthetic_runs.functions():
        for group in groups(function):
            runs = assembler(function, group)
            for time_ms, stream, text in synthetic_runs.lines(group, INPUTS):
                yield from runs.take(Line(time_ms, function.name, stream, text))
            yield from runs.flush()


def made(*runs: Run, **more: Any) -> dict[str, Any]:
    overview = Overview(synthetic_runs.functions())
    for run in runs or synthetic():
        overview.add(run)
    found = document.document(overview, Asked("synthetic", "scar report"), **more)
    found = json.loads(json.dumps(found))
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return dict(found)


def unpacked(text: str) -> str:
    return gzip.decompress(base64.b64decode(text)).decode()


class Rows:
    """The runs of a document, as its page reads them."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.folders = content["folders"]
        self.rows: list[dict[str, Any]] = []
        for number, chunk in enumerate(content["runs"]["chunks"]):
            columns = json.loads(unpacked(chunk["numbers"]))
            names = unpacked(chunk["names"]).split("\n")
            assert len(names) == chunk["rows"]
            at, stem = chunk["start_ms"], ""
            for row, line in enumerate(names):
                found = {name: column[row] for name, column in columns.items()}
                at += found.get("start", 0)
                name, *results = line.split("\t")
                if found.get("first"):
                    stem = name.rpartition("/")[2].rpartition(".")[0]
                found |= {
                    "start_ms": at,
                    "subject": self.uri(found.get("folder", 0), name.replace("\x01", stem)),
                    "results": [self.uri(*self.split(one.replace("\x01", stem))) for one in results],
                    "at": [number, row],
                }
                self.rows.append(found)

    @staticmethod
    def split(result: str) -> tuple[int, str]:
        folder, _, name = result.partition(":")
        return int(folder), name

    def uri(self, folder: int, name: str) -> str:
        return name if folder < 0 else str(self.folders[folder]) + name


def test_all_runs_are_counted() -> None:
    """Of 600 inputs, 12 fail once, and 3 of them again; 24 are handed to Batch."""
    content = made()
    assert content["totals"]["inputs"] == INPUTS
    resize, examine, index = content["functions"]
    assert resize["by_status"] == {"done": 597, "failed": 15}
    assert resize["files"] == {
        "all": 600,
        "done": 597,
        "failed": 3,
        "skipped": 0,
        "unfinished": 0,
        "recovered": 9,
    }
    assert resize["attempts"] == [588, 12]
    assert examine["by_status"] == {"done": 597, "delegated": 24}
    assert examine["on"] == {"lambda": 597, "batch": 24}
    assert examine["files"]["unfinished"] == 0
    assert index["files"]["done"] == 597
    durations = sorted(
        run.total_ms for run in synthetic() if run.function == "resize" and run.total_ms is not None
    )
    total = resize["durations"]["total"]
    assert (total["count"], total["min_ms"], total["max_ms"]) == (612, durations[0], durations[-1])
    assert total["p50_ms"] == pytest.approx(durations[306], rel=0.04)
    assert total["p99_ms"] == pytest.approx(durations[605], rel=0.04)
    assert sum(count for _low, _high, count in total["histogram"]) == 612
    assert resize["memory"]["given_bytes"] == 1024 * 1024**2


def test_arrows_have_the_numbers_of_files() -> None:
    workflow = made()["workflow"]
    titles = [" ".join([node["title"], *node["lines"]]) for node in workflow["nodes"]]
    found = {
        (titles[edge["source"]], titles[edge["target"]]): (edge["files"], edge.get("failed"))
        for edge in workflow["edges"]
    }
    assert found == {
        ("bench /in", "resize"): (600, 3),
        ("resize", "bench /small"): (597, None),
        ("bench /small", "examine"): (597, 0),
        ("examine", "bench /found"): (597, None),
        ("bench /found", "index"): (597, 0),
        ("index", "bench /index"): (597, None),
    }
    sizes: dict[str, list[int]] = {}
    for run in synthetic():
        if run.function == "resize":
            sizes.setdefault(run.subject, []).append(run.input_bytes or 0)
    assert any(len(own) > 1 for own in sizes.values())
    assert workflow["edges"][0]["bytes"] == pytest.approx(sum(mean(own) for own in sizes.values()), abs=1)


def test_arrows_count_the_outputs_of_a_file_that_was_processed_again_once() -> None:
    first = next(run for run in synthetic() if run.function == "resize" and run.status == "done")
    again = first._replace(ended_ms=first.ended_ms + 1, outputs=(*first.outputs, "s3://bench/small/new"))
    failed = again._replace(
        ended_ms=again.ended_ms + 1, status="failed", error="No", outputs=(), output_files=0
    )
    runs = (again._replace(output_files=2), first, failed)
    assert [edge["files"] for edge in made(*runs)["workflow"]["edges"][:2]] == [1, 2]


def test_each_failed_file_appears_under_its_reason() -> None:
    content = made(queues={"resize": 3})
    assert sum(one["runs"] for one in content["failures"]) == 15
    named = {name: one["reason"] for one in content["failures"] for name in one["names"]}
    assert named == {
        "s3://bench/in/photo-0000007.jpg": "OutOfMemory: The container ran out of memory",
        "s3://bench/in/photo-0000207.jpg": "ContainerFailed: The container exited with code 7",
        "s3://bench/in/photo-0000407.jpg": "InputMissing: The input does not exist",
    }
    assert sum(one["files"] for one in content["failures"]) == content["functions"][0]["failure_queue"] == 3
    first = content["failures"][0]
    assert first["retry"] == "scar retry -n resize"
    assert first["examples"][0]["last_lines"].endswith("a line of output\n")
    in_rows = Counter(row["reason"] for row in Rows(content).rows if row["reason"])
    assert in_rows == {one["id"]: one["runs"] for one in content["failures"]}


def test_the_most_frequent_reason_is_first_and_the_end_of_an_output_is_shown() -> None:
    run = next(run for run in synthetic() if run.status == "failed")
    output = "".join(f"line {number}\n" for number in range(1000))
    rare, frequent = (run._replace(error=error, last_lines=output) for error in ("rare", "frequent"))
    first, second = made(rare, frequent, frequent)["failures"]
    assert (first["runs"], second["runs"]) == (2, 1)
    shown = first["examples"][0]["last_lines"]
    assert output.endswith(shown)
    assert 1000 < len(shown) < 5000 < len(output)


def test_the_timeline_has_all_runs_and_all_of_their_time() -> None:
    content = made()
    columns = json.loads(unpacked(content["timeline"]["data"]))
    runs = synthetic()
    for number, function in enumerate(content["functions"]):
        own = [run for run in runs if run.function == function["name"]]
        assert sum(columns[number]["started"]) == len(own)
        assert sum(columns[number].get("failed", [])) == sum(run.status == "failed" for run in own)
        for index, stage in enumerate(STAGES):
            spent = sum(run.stages()[index] for run in own)
            assert sum(columns[number].get(stage, [0])) == pytest.approx(
                spent, abs=len(columns[number]["bucket"])
            )


def test_an_input_can_be_followed_to_its_results() -> None:
    """The runs of an input are adjacent, the run that wrote an input precedes the one that reads it."""
    rows = Rows(made()).rows
    (first,) = [n for n, row in enumerate(rows) if row["subject"] == "s3://bench/in/photo-0000003.jpg"]
    assert rows[first]["first"]
    following = rows[first + 1 : first + 4]
    assert not any(row["first"] for row in following)
    assert [row["subject"] for row in following] == [
        "s3://bench/small/photo-0000003.jpg",
        "s3://bench/found/photo-0000003.json",
        "s3://bench/small/photo-0000003.jpg",
    ]
    assert [row["parent"] for row in following] == [1, 1, 3]
    assert rows[first]["results"] == []
    assert following[1]["results"] == ["s3://bench/index/photo-0000003.txt"]


def test_small_reports_have_exact_numbers_and_runs_can_be_found_in_them() -> None:
    content = made()
    assert content["runs"]["rounded"] == 0
    assert content["runs"]["kept"] == content["runs"]["of"] == len(synthetic())
    rows = Rows(content).rows
    # A retry of Lambda has the id of the first attempt.
    found = {(row["request"], row["start_ms"]): row for row in rows}
    assert len(found) == len(rows)
    for run in synthetic():
        row = found[run.request_id, round(run.started_ms)]
        assert row["subject"] == run.subject
        assert [row.get(stage, 0) for stage in STAGES] == pytest.approx(run.stages(), abs=0.06)
    for one in content["slowest"]:
        assert found[one["request_id"], one["start_ms"]]["at"] == one["at"]


def test_large_reports_are_rounded_and_sampled_by_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """All failed inputs, the slowest ones, and some of the others, each with all of its runs."""
    monkeypatch.setattr(chunks, "_ALL_SHOWN", 100)
    monkeypatch.setattr(chunks, "_ROWS", 64)
    whole = made()
    assert {len(str(row["run"]).rstrip("0")) for row in Rows(whole).rows} <= {0, 1, 2}
    size = sum(len(chunk["numbers"]) + len(chunk["names"]) for chunk in whole["runs"]["chunks"])
    overview = Overview(synthetic_runs.functions())
    for run in synthetic():
        overview.add(run)
    overview.settle()
    slowest = [number for number, _run in overview.slowest]
    sample = chunks.chunks_of(overview.store, overview.folders, slowest, size // 3)
    assert sum(len(chunk["numbers"]) + len(chunk["names"]) for chunk in sample.chunks) <= size // 3
    assert len(synthetic()) // 5 < sample.kept < len(synthetic()) // 2
    assert sample.places.keys() == set(slowest)
    rows = Rows({"folders": overview.folders.uris, "runs": sample.as_json()}).rows
    inputs = Counter(row["subject"].rpartition("-")[2].partition(".")[0] for row in rows)
    everything = Counter(run.subject.rpartition("-")[2].partition(".")[0] for run in synthetic())
    assert all(everything[one] == count for one, count in inputs.items()), "all runs of each input"
    failed = {
        run.subject.rpartition("-")[2].partition(".")[0] for run in synthetic() if run.status == "failed"
    }
    assert failed <= inputs.keys()


def test_without_runs_there_is_a_document_all_the_same() -> None:
    overview = Overview(synthetic_runs.functions())
    content = document.document(overview, Asked("nothing", "scar report"))
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(content)))
    assert content["period"] is None
    assert content["runs"]["chunks"] == []


def test_json_leaves_out_what_only_the_page_uses() -> None:
    assert {"timeline", "runs"}.isdisjoint(made(is_full=False))


def test_a_duplicate_does_not_decide_about_a_file() -> None:
    done = next(run for run in synthetic() if run.function == "resize" and run.status == "done")
    duplicate = done._replace(status="duplicate", started_ms=done.ended_ms + 1, ended_ms=done.ended_ms + 2)
    failed = done._replace(status="failed", error="No")
    for first in (done, failed):
        files = made(first, duplicate)["functions"][0]["files"]
        assert (files["all"], files[first.status]) == (1, 1)
    assert made(duplicate)["functions"][0]["files"]["done"] == 1


def test_attempts_of_a_file_are_the_runs_that_processed_it() -> None:
    """One file is done, and one is a duplicate afterwards; one fails twice. Others have no attempt yet."""
    template = next(run for run in synthetic() if run.function == "resize" and run.status == "done")

    def run(name: str, status: str, order: int) -> Run:
        moment = template.ended_ms + order
        return template._replace(subject=f"s3://bench/in/{name}", status=status, ended_ms=moment)

    runs = [
        *(run("a", "done", 0), run("b", "done", 0), run("b", "duplicate", 1), run("c", "delegated", 0)),
        *(run("d", "duplicate", 0), run("e", "failed", 0), run("e", "failed", 1), run("f", "skipped", 0)),
    ]
    assert made(*runs)["functions"][0]["attempts"] == [3, 1]


def test_rounded_numbers_have_two_digits() -> None:
    chance = random.Random(5)
    numbers = [chance.random() * 10 ** chance.randint(0, 13) for _ in range(2000)]
    for number, rounded in zip(numbers, chunks._rounded(numbers), strict=True):
        unit = 10 ** max(0, len(str(int(number + 0.5))) - 2)
        assert rounded % unit == 0
        assert abs(rounded - number) <= unit / 2 + 0.5


def test_a_job_that_has_not_ended_is_unfinished() -> None:
    delegated = next(run for run in synthetic() if run.status == "delegated")
    assert made(delegated)["functions"][1]["files"]["unfinished"] == 1
    submitted = delegated._replace(status="submitted", subject="3 files")
    content = made(submitted)
    assert (content["totals"]["runs"], content["functions"][1]["files"]["all"]) == (0, 0)


def test_a_function_in_batch_mode_and_its_job_have_the_same_input() -> None:
    job = next(run for run in synthetic() if run.function == "resize" and run.status == "done")
    submitted = job._replace(status="submitted", trace=None, span=None, ended_ms=job.started_ms - 1)
    content = made(submitted, job)
    assert (content["totals"]["inputs"], content["totals"]["runs"]) == (1, 1)


def test_outputs_beyond_those_in_the_log_are_counted_by_folder() -> None:
    run = next(run for run in synthetic() if run.function == "resize" and run.status == "done")
    outputs = ("s3://bench/small/a", "s3://bench/small/b", "s3://other/c")
    edges = made(run._replace(outputs=outputs, output_files=300))["workflow"]["edges"]
    assert edges[1]["files"] == 200
