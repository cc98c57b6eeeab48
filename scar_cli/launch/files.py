"""The files of a launch: the folders to list, the files to take, and the event for each file.

S3 lists keys in the order of their bytes. With that order, a launch can be resumed from one key, and needs
only a page or two in memory, whatever the number of files.
"""

from __future__ import annotations

import fnmatch
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

from fdl_schemas.model import StorageEntry
from scar_cli.aws.session import error_code, explained, is_passing
from scar_cli.errors import UserError
from scar_cli.launch.pace import Patience

CONFIGURATION_ID = "scar-launch"
"""Prefix of the id of a launch."""


class NoBucketError(UserError):
    """The bucket of an input does not exist."""

    def __init__(self, bucket: str) -> None:
        super().__init__(
            f"There is no bucket {bucket}", "Deploy the workflow first, or check --bucket-suffix"
        )
        self.bucket = bucket


@dataclass(frozen=True, slots=True)
class InputFile:
    """An object in an input folder."""

    bucket: str
    key: str
    size: int
    etag: str
    source: int = 0
    """Index of the listed folder that contains it."""
    modified_ms: int = 0
    """Milliseconds since 1970."""


@dataclass(frozen=True)
class Source:
    """A folder to list."""

    bucket: str
    prefix: str = ""
    """Ends with `/`, unless it is the whole bucket."""

    def __str__(self) -> str:
        return f"{self.bucket}/{self.prefix}".rstrip("/")

    def holds(self, bucket: str, key: str) -> bool:
        """Whether it contains an object."""
        return bucket == self.bucket and key.startswith(self.prefix)


@dataclass(frozen=True)
class Selection:
    """The files that a launch takes."""

    sources: tuple[Source, ...]
    entries: tuple[StorageEntry, ...]
    """The inputs of the function on S3, with the real names of the buckets."""
    match: str | None = None
    """A pattern for the key below its folder; `*` also matches `/`."""
    newer_than: str | None = None
    """As given on the command line."""
    newer_than_ms: int | None = None

    def described(self) -> dict[str, Any]:
        """The values that must be the same when a launch is resumed."""
        return {
            "sources": [[source.bucket, source.prefix] for source in self.sources],
            "inputs": [[str(one), list(one.prefixes), list(one.suffixes)] for one in self.entries],
            "match": self.match,
            "newer_than": self.newer_than,
            "newer_than_ms": self.newer_than_ms,
        }


@dataclass
class LeftOut:
    """Files without an event, although they are in the folder and pass its filters."""

    empty: int = 0
    """Of zero bytes: functions treat such objects as markers of folders."""
    done: int = 0
    """Whose output already exists (`--skip-done`)."""
    gone: int = 0
    """That were deleted before an interrupted launch was resumed."""


@dataclass
class Listing:
    """Lists the files of a selection, from the beginning or after a key."""

    s3: Any
    selection: Selection
    left_out: LeftOut = field(default_factory=LeftOut)
    looked_at: int = 0
    """Files in the input folders so far, whether the filters of the launch take them or not."""

    def pages(self, after: tuple[int, str] | None = None) -> Iterator[list[InputFile]]:
        """The files to take, one page of the listing at a time; a page may be empty.

        Raises:
            UserError: a bucket does not exist, or may not be listed.
        """
        start, key = after or (0, "")
        for number, source in enumerate(self.selection.sources[start:], start=start):
            taken = self._taker(number)
            for page in objects(self.s3, source, key):
                yield [file for found in page if (file := taken(found)) is not None]
            key = ""

    def again(self, source: int, key: str) -> InputFile | None:
        """A file that was listed before; None if it was deleted."""
        folder = self.selection.sources[source]
        with explained():
            found = self.s3.list_objects_v2(Bucket=folder.bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        return _file(source, folder, found[0]) if found and found[0]["Key"] == key else None

    def _taker(self, number: int) -> Callable[[dict[str, Any]], InputFile | None]:
        source, earlier = self.selection.sources[number], self.selection.sources[:number]
        entries = [one for one in self.selection.entries if one.bucket == source.bucket]
        pattern = re.compile(fnmatch.translate(self.selection.match)) if self.selection.match else None
        newer_than = self.selection.newer_than_ms
        skipped = len(source.prefix)

        def taken(found: dict[str, Any]) -> InputFile | None:
            key = found["Key"]
            if not any(fits(entry, key) for entry in entries):
                return None
            if any(one.holds(source.bucket, key) for one in earlier):
                return None
            self.looked_at += 1
            if pattern is not None and pattern.match(key[skipped:]) is None:
                return None
            if newer_than is not None and milliseconds(found["LastModified"]) < newer_than:
                return None
            if not found["Size"]:
                self.left_out.empty += 1
                return None
            return _file(number, source, found)

        return taken


def objects(s3: Any, source: Source, after: str = "") -> Iterator[list[dict[str, Any]]]:
    """All objects of a folder after a key, one page at a time, as returned by boto3.

    Raises:
        UserError: the bucket does not exist, or may not be listed.
    """
    while True:
        page = _page(s3, source, after)
        found = page.get("Contents", [])
        if found:
            after = found[-1]["Key"]
            yield found
        if not page.get("IsTruncated") or not found:
            return


def _page(s3: Any, source: Source, after: str) -> dict[str, Any]:
    """One page. After the first one, a lost network connection is waited for, for some minutes."""
    patience, since, attempts = Patience(), time.monotonic(), 0
    position = {"StartAfter": after} if after else {}
    while True:
        try:
            with explained():
                page: dict[str, Any] = s3.list_objects_v2(
                    Bucket=source.bucket, Prefix=source.prefix, **position
                )
                return page
        except UserError as error:
            if error_code(error.__cause__ or error) == "NoSuchBucket":
                raise NoBucketError(source.bucket) from error
            lost = after and is_passing(error.__cause__ or error)
            if not lost or time.monotonic() - since >= patience.give_up_s:
                raise
            attempts += 1
            time.sleep(patience.pause(attempts))


def entries_of(entries: Sequence[StorageEntry], bucket_suffix: str | None = None) -> tuple[StorageEntry, ...]:
    """The inputs or outputs that are on S3, with the real names of the buckets."""
    return tuple(
        StorageEntry(
            f"{one.bucket}-{bucket_suffix}" if bucket_suffix else one.bucket,
            one.folder,
            one.prefixes,
            one.suffixes,
        )
        for one in entries
        if one.provider == "s3"
    )


def sources_of(entries: Sequence[StorageEntry], bucket_path: str | None = None) -> tuple[Source, ...]:
    """The folders to list: those of the inputs, or a folder inside one.

    Raises:
        UserError: the function would not run on files of that folder.
    """
    inputs = tuple(dict.fromkeys(Source(one.bucket, one.key_prefix) for one in entries))
    if bucket_path is None:
        return inputs
    bucket, _slash, folder = bucket_path.removeprefix("s3://").partition("/")
    folder = folder.strip("/")
    wanted = Source(bucket, f"{folder}/" if folder else "")
    if not any(one.holds(wanted.bucket, wanted.prefix) for one in inputs):
        raise UserError(
            f"{bucket_path} is not in an input of the function ({', '.join(map(str, inputs))})",
            "Specify a folder in one of them, with the real name of the bucket; or add an input to the FDL "
            "file and deploy it",
        )
    return (wanted,)


def fits(entry: StorageEntry, key: str) -> bool:
    """Whether the function takes an object: in the input folder, not a marker, and passed by the filters."""
    name = key.rpartition("/")[2]
    if not name or not key.startswith(entry.key_prefix):
        return False
    return (not entry.prefixes or name.startswith(entry.prefixes)) and (
        not entry.suffixes or name.endswith(entry.suffixes)
    )


def event_for(file: InputFile, region: str, launch_id: str = CONFIGURATION_ID) -> dict[str, Any]:
    """The event that S3 would send for the file, its key encoded as S3 does.

    `launch_id` replaces the name of the bucket notification, and the sequencer: a function with `once` runs
    again on the files of a new launch, but only once on those of the same launch.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": now,
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": launch_id,
            "bucket": {"name": file.bucket, "arn": f"arn:aws:s3:::{file.bucket}"},
            "object": {
                "key": quote_plus(file.key, safe="/*"),
                "size": file.size,
                "eTag": file.etag,
                "sequencer": launch_id,
            },
        },
    }
    return {"Records": [record]}


def event_bytes(file: InputFile, region: str, launch_id: str = CONFIGURATION_ID) -> bytes:
    """The event as JSON."""
    return json.dumps(event_for(file, region, launch_id)).encode()


def _file(number: int, source: Source, found: dict[str, Any]) -> InputFile:
    return InputFile(
        source.bucket,
        found["Key"],
        found["Size"],
        found["ETag"].strip('"'),
        number,
        milliseconds(found["LastModified"]),
    )


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return int(moment.timestamp() * 1000)
