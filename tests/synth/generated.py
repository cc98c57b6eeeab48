"""Valid FDL documents over the whole language, right by construction: a strategy for hypothesis.

What could make a document wrong is decided first, and all the rest drawn within it: function N writes below
folders of its own (`stage-N`), and reads those of functions before it, so that no loop comes about (or loops
are allowed); a bucket is read in one region; sizes of jobs are pairs that Fargate offers. Names, texts and
numbers are drawn from their whole range, their ends and their oddities above all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.oci_images import Image, docker_save
from tests.synth.generated_function import function_entries
from tests.synth.generated_values import (
    ACCOUNTS,
    BUCKETS,
    FOLDERS,
    NAMES,
    REGIONS,
    TEXTS,
    WORDS,
    filters,
    numbers,
    rarely,
    some_of,
)

VARIABLES = {"FIRST_KEY": "a first key", "SECOND_KEY": 'an"other\\{key}', "ADDRESS": "https://x.example.org"}
"""The environment that `${ENV:NAME}` is read from."""
FILES = ("run.sh", "scripts/größer 日本.sh", "models/weights.bin")
ARCHIVES = ("image.tar", "archive of image")
"""Files and images that documents name; `models` is named as a folder too."""


def write_files(folder: Path) -> None:
    """Makes the files that documents name."""
    for name in FILES:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"#!/bin/sh\nexit 0\n")
    for name in ARCHIVES:
        docker_save(folder / name, Image([], architecture=""))  # for any architecture


@st.composite
def _entry(draw: st.DrawFn, /, bucket: str, top: str, **more: Any) -> dict[str, Any]:
    folder = draw(FOLDERS)
    budget = 900 - len(top.encode()) - 1
    folder = folder.encode()[:budget].decode(errors="ignore")
    path = "/".join(part for part in (bucket, top, folder.strip("/")) if part)
    around = draw(st.sampled_from(["{}", "{}", "{}/", "/{}"]))
    entry = {"path": around.format(path), **more}
    for key in ("suffix", "prefix"):
        if draw(st.integers(0, 3)) == 0:
            entry[key] = draw(filters())
    if "storage_provider" not in more and draw(st.booleans()):
        entry["storage_provider"] = "s3"
    return entry


def _queues(reserved_concurrency: int | None) -> st.SearchStrategy[dict[str, Any]]:
    most = min(reserved_concurrency or 1000, 1000)
    return st.fixed_dictionaries(
        {},
        optional={
            "max_concurrency": numbers(2, most),
            "batch_window": numbers(0, 300),
            "retention_days": numbers(1, 14),
        },
    )


def _secrets() -> st.SearchStrategy[str]:
    names = st.sampled_from(
        [
            "my-secret",
            "team/keys+=.@_-",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:onedata-AbCdEf",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:whole",
        ]
    )
    return st.one_of(
        names.map(lambda name: f"${{SECRET:{name}}}"),
        st.sampled_from(["FIRST_KEY", "SECOND_KEY"]).map(lambda name: f"${{ENV:{name}}}"),
        TEXTS.filter(lambda text: not text.startswith("${")),
    )


def _connections() -> st.SearchStrategy[dict[str, Any]]:
    secret = _secrets()
    hosts = st.sampled_from(["https://x.example.org", "http://127.0.0.1:9000/base", "${ENV:ADDRESS}"])
    kinds = {
        "s3": some_of({"region": st.sampled_from(REGIONS)}, access_key=secret, secret_key=secret),
        "minio": some_of(
            {"region": st.just("eu-lab"), "verify": st.booleans()},
            endpoint=hosts,
            access_key=secret,
            secret_key=secret,
        ),
        "webdav": some_of({}, hostname=hosts, login=secret, password=secret),
        "onedata": some_of({}, oneprovider_host=st.just("p.example.org"), token=secret, space=TEXTS),
    }
    named = {kind: st.dictionaries(WORDS, one, max_size=2) for kind, one in kinds.items()}
    return st.one_of(st.just({}), st.fixed_dictionaries({}, optional=named))


class _Workflow:
    """What has been decided about a whole document."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.loops = rarely(draw, 8)
        self.connections = draw(_connections())
        self.references = [f"{kind}.{name}" for kind, named in self.connections.items() for name in named]
        regions = [None, *draw(st.lists(st.sampled_from(REGIONS), max_size=2, unique=True))]
        self.regions = regions if rarely(draw, 4) else [draw(st.sampled_from(regions))]
        buckets = draw(st.lists(BUCKETS, min_size=3, max_size=6, unique=True))
        self.whole, self.shared = buckets[0], buckets[1:]
        # S3 notifies functions of one region alone: each bucket is read in one.
        self.read_in = {
            bucket: self.regions[number % len(self.regions)] for number, bucket in enumerate(buckets)
        }
        self.whole_is_read = False
        self.written: list[tuple[str, str]] = []

    def inputs(self, number: int, region: str | None) -> list[dict[str, Any]]:
        """Inputs of function `number`: files from outside, and of the functions before it."""
        draw = self.draw
        found: list[dict[str, Any]] = []
        readable = [bucket for bucket in self.shared if self.read_in[bucket] == region]
        tops = ["given", *(f"stage-{before}" for before in range(number))]
        for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3])) if readable else 0):
            top = "" if self.loops else draw(st.sampled_from(tops))
            found.append(draw(_entry(draw(st.sampled_from(readable)), top)))
        written = [path for bucket, path in self.written if bucket in readable]
        if written and rarely(draw, 2):
            found.append({"path": draw(st.sampled_from(written))})
        if not self.whole_is_read and self.read_in[self.whole] == region and rarely(draw, 4):
            self.whole_is_read = True
            found.append({"path": self.whole})
        if rarely(draw, 6):
            regions = st.sampled_from(REGIONS)
            topic = draw(st.builds("arn:aws:sns:{}:{}:{}".format, regions, ACCOUNTS, WORDS))
            found += [draw(_entry("public-bucket", "", topic=topic)) for _ in range(draw(st.integers(1, 2)))]
        return found

    def outputs(self, number: int) -> list[dict[str, Any]]:
        """Outputs of function `number`, for the functions after it, and for nobody."""
        draw = self.draw
        found: list[dict[str, Any]] = []
        for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
            if self.references and rarely(draw, 2):
                reference = draw(st.sampled_from(self.references))
                found.append(draw(_entry("results", "", storage_provider=reference)))
            elif not self.whole_is_read and rarely(draw, 3):
                found.append(draw(_entry(self.whole, "")))
            else:
                top = "" if self.loops else f"stage-{number}"
                bucket = draw(st.sampled_from(self.shared))
                found.append(draw(_entry(bucket, top)))
                self.written.append((bucket, found[-1]["path"]))
        return found


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document. `write_files` makes what it names; `VARIABLES` are those of its references."""
    count = draw(st.sampled_from([1, 1, 1, 2, 2, 3, 4]))
    names = draw(st.lists(NAMES, min_size=count, max_size=count, unique=True))
    workflow = _Workflow(draw)
    entries = []
    for number, name in enumerate(names):
        region = draw(st.sampled_from(workflow.regions))
        entry = draw(function_entries(name, region))
        for key, found in (
            ("input", workflow.inputs(number, region)),
            ("output", workflow.outputs(number)),
        ):
            if found or rarely(draw, 4):
                entry["lambda"][key] = found
        if entry["lambda"].get("reserved_concurrency", 2) >= 2 and rarely(draw, 3):
            queue = draw(_queues(entry["lambda"].get("reserved_concurrency")))
            inputs = entry["lambda"].get("input", ())
            here = region in (None, "us-east-1") and not any("topic" in one for one in inputs)
            if here and rarely(draw, 4):
                queue["arn"] = f"arn:aws:sqs:us-east-1:123456789012:queue-{number}"
            for one in inputs:
                one["queue"] = queue
        entries.append(entry)
    functions: dict[str, Any] = {"aws": entries}
    if rarely(draw, 10) and "on-premises" not in names:
        functions["oscar"] = [{"lab": {"name": "on-premises", "image": "a", "cpu": 0.5, "script": None}}]
    document: dict[str, Any] = {"functions": functions}
    if workflow.connections or rarely(draw, 6):
        document["storage_providers"] = workflow.connections
    if workflow.loops:
        document["allow_loops"] = True
    return document
