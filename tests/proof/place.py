"""Where an example is deployed: the names that its things have there, and how to use them."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Found = TypeVar("Found")

TEXT = b"The cat and the dog. And, THE end\n"
_ASK_EVERY_S = 0.1


@dataclass(frozen=True)
class Answer:
    """Of an HTTP endpoint."""

    status: int
    content_type: str
    text: str


@dataclass
class Place:
    """One account and region, and one deployment of the examples in it."""

    client: Callable[[str], Any]
    """A boto3 client for the name of a service."""
    local_endpoint: str | None = None
    """URL of the embedded cloud; None: AWS."""
    run: str | None = None
    """Makes the names of this deployment unique; None: the names are those of the FDL files."""
    patience_s: float = 120
    neighbours: Any = None
    """Servers beside the embedded cloud, see `neighbours`."""
    sent_bytes: int = 0
    received_bytes: int = 0
    log_lines: list[str] = field(default_factory=list)
    """The last line of each run of a function that was looked at."""

    def stack(self, example: str) -> str:
        """The name of an example's stack."""
        return f"{example}-{self.run}" if self.run else example

    def bucket(self, name: str) -> str:
        """The name of a bucket of an FDL file."""
        return f"{name}-{self.run}" if self.run else name

    def options(self, example: str) -> list[str]:
        """The options of `scar init` that give an example these names, and let its buckets go with it."""
        names = ["--stack", example, "--stage", self.run] if self.run else []
        return [*names, "-c", "removal=destroy"]

    def put(self, bucket: str, key: str, body: bytes = TEXT) -> None:
        """Upload a file."""
        self.client("s3").put_object(Bucket=self.bucket(bucket), Key=key, Body=body)
        self.sent_bytes += len(body)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket, without the markers of folders."""
        pages = self.client("s3").get_paginator("list_objects_v2")
        listed = pages.paginate(Bucket=self.bucket(bucket), Prefix=prefix)
        names = [entry["Key"] for page in listed for entry in page.get("Contents", [])]
        return [name for name in names if not name.endswith("/")]

    def empty(self, bucket: str, prefix: str) -> None:
        """Delete the files of a folder."""
        for key in self.keys(bucket, prefix):
            self.client("s3").delete_object(Bucket=self.bucket(bucket), Key=key)

    def results(self, bucket: str, *expected: str) -> list[bytes]:
        """The contents of these keys, as soon as all of them exist."""
        self.until(lambda: not set(expected) - set(self.keys(bucket)), f"{', '.join(expected)} in {bucket}")
        s3 = self.client("s3")
        found = [s3.get_object(Bucket=self.bucket(bucket), Key=key)["Body"].read() for key in expected]
        self.received_bytes += sum(map(len, found))
        return found

    def until(self, probe: Callable[[], Found], what: str) -> Found:
        """What `probe` gives, as soon as it gives something."""
        deadline = time.monotonic() + self.patience_s
        while not (found := probe()):
            assert time.monotonic() < deadline, f"{what}: still missing after {self.patience_s:g} s"
            time.sleep(_ASK_EVERY_S if self.local_endpoint else 10 * _ASK_EVERY_S)
        return found

    def summaries(self, group: str, tag: str = "") -> list[dict[str, Any]]:
        """The runner's last line of each run on a file with the tag in its name."""
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        lines = [event["message"].strip() for page in pages for event in page["events"]]
        told = {line: json.loads(line) for line in lines if line.startswith("{")}
        summaries = {
            line: one
            for line, one in told.items()
            if one.get("message") == "summary" and tag in one.get("subject", "")
        }
        self.log_lines += [line for line in summaries if line not in self.log_lines]
        return list(summaries.values())

    def deployed(self, example: str) -> list[dict[str, Any]]:
        """The functions of an example's stack, as its output describes them."""
        stacks = self.client("cloudformation").describe_stacks(StackName=self.stack(example))["Stacks"]
        (output,) = [one["OutputValue"] for one in stacks[0]["Outputs"] if one["OutputKey"] == "ScarWorkflow"]
        functions: list[dict[str, Any]] = json.loads(output)["functions"]
        return functions

    def call(
        self,
        example: str,
        body: bytes | None = None,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """GET, or POST a body to, the HTTP endpoint of an example's only function."""
        (function,) = self.deployed(example)
        url = function["api_url"]
        if self.local_endpoint:
            address = urllib.parse.urlsplit(url)
            api = str(address.hostname).partition(".execute-api.")[0]
            url = f"{self.local_endpoint}/_aws/execute-api/{api}{address.path}"
        self.sent_bytes += len(body or b"")
        request = urllib.request.Request(f"{url}{query}", data=body, headers=dict(headers or {}))
        proxies = urllib.request.ProxyHandler({} if self.local_endpoint else None)
        try:
            with urllib.request.build_opener(proxies).open(request) as response:
                text = response.read()
                self.received_bytes += len(text)
                return Answer(response.status, response.headers["Content-Type"], text.decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers["Content-Type"], error.read().decode())
