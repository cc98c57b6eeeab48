"""What some examples need beside AWS, made on this machine: servers, images, a public data set, a video."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from local_cloud.cloud import Running
from tests import examples, oci_images
from tests.synth.s3_server import S3Server, running_s3_server
from tests.unit.runtime.storage.servers import LOGIN, PASSWORD, webdav_server
from tests.unit.runtime.storage.servers import Running as WebdavServer

BUILD = examples.REPOSITORY / "build"
_IMAGES = (
    ("library/busybox", "1.37"),
    ("ncbi/blast", "latest"),
    ("nvidia/cuda", "12.6.2-base-ubuntu24.04"),
)
VIDEO_EXAMPLE = examples.EXAMPLES / "video-process"
SECONDS = 68
"""Of the video, each of which becomes a picture."""
PUBLIC_BUCKET = "noaa-goes19"
TOPIC = "arn:aws:sns:us-east-1:123901341784:NewGOES19Object"


@dataclass(frozen=True)
class Neighbours:
    """The servers and the data set that examples on an embedded cloud work with."""

    running: Running
    lab: S3Server
    office: WebdavServer

    def variables(self) -> Mapping[str, str]:
        """What `several-providers` reads from the environment where it is deployed."""
        return {
            **examples.VARIABLES,
            "LAB_MINIO_ENDPOINT": self.lab.endpoint,
            "OFFICE_WEBDAV": self.office.url,
        }

    def publish(self, key: str, body: bytes | None = None) -> None:
        """Publish that a file is new in the public data set; with a body, upload it first."""
        if body is not None:
            self._owner("s3").put_object(Bucket=PUBLIC_BUCKET, Key=key, Body=body)
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-01-02T03:04:05.678Z",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": PUBLIC_BUCKET, "arn": f"arn:aws:s3:::{PUBLIC_BUCKET}"},
                "object": {"key": key, "size": len(body or b"")},
            },
        }
        message = json.dumps({"Records": [record]})
        self._owner("sns").publish(TopicArn=TOPIC, Subject="Amazon S3 Notification", Message=message)

    def make_public_data_set(self) -> None:
        """A bucket that all may read and a topic that all may subscribe to, in somebody else's account."""

        def everybody(action: str, resource: str) -> str:
            statement = {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource}
            return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

        sns, s3 = self._owner("sns"), self._owner("s3")
        assert sns.create_topic(Name=TOPIC.rpartition(":")[2])["TopicArn"] == TOPIC
        sns.set_topic_attributes(
            TopicArn=TOPIC, AttributeName="Policy", AttributeValue=everybody("sns:Subscribe", TOPIC)
        )
        s3.create_bucket(Bucket=PUBLIC_BUCKET)
        s3.delete_public_access_block(Bucket=PUBLIC_BUCKET)
        policy = everybody("s3:GetObject", f"arn:aws:s3:::{PUBLIC_BUCKET}/*")
        s3.put_bucket_policy(Bucket=PUBLIC_BUCKET, Policy=policy)

    def make_secret(self, secretsmanager: Any) -> None:
        """The secret with the login of the WebDAV server."""
        login = json.dumps({"login": LOGIN, "password": PASSWORD})
        secretsmanager.create_secret(Name="scar-examples/office-webdav", SecretString=login)

    def _owner(self, service: str) -> Any:
        """A client of the account that the topic belongs to: its number serves as an access key."""
        return boto3.client(
            service,
            endpoint_url=self.running.endpoint,
            region_name="us-east-1",
            aws_access_key_id=TOPIC.split(":")[4],
            aws_secret_access_key=self.running.credentials.secret_access_key,
        )


@contextmanager
def neighbours(running: Running, secretsmanager: Any, folder: Path) -> Iterator[Neighbours]:
    """All of them, for the time of the block."""
    with ExitStack() as stack:
        for name in ("lab", "office"):
            (folder / name).mkdir(parents=True)
        lab = stack.enter_context(running_s3_server(folder / "lab"))
        office = stack.enter_context(webdav_server(folder / "office"))
        lab.client().create_bucket(Bucket="deliveries")
        made = Neighbours(running, lab, office)
        made.make_public_data_set()
        made.make_secret(secretsmanager)
        yield made


def images(folder: Path) -> str:
    """Write what Docker Hub has for the examples to a folder: its URL as a mirror."""
    for name, tag in _IMAGES:
        oci_images.write_layout(folder / "docker.io" / name, {tag: examples.busybox_image()})
    return (folder / "docker.io").as_uri()


def video_images() -> str:
    """Build the two images of the video workflow as `make demo` does: the URL of their folder as a mirror."""
    _import_the_example()
    from images.build_images import build_images

    build_images(BUILD / "images", BUILD / "wheels", lambda _: None)
    return (BUILD / "images").as_uri()


def video() -> Path:
    """The video of `make demo`: 68 seconds with persons and a cat."""
    _import_the_example()
    from images.build_images import ffmpeg_program
    from make_video import make_video

    target = BUILD / "proof" / "seq1.avi"
    target.parent.mkdir(parents=True, exist_ok=True)
    make_video(ffmpeg_program(BUILD / "wheels"), BUILD / "wheels", target)
    return target


def copied(name: str, target: Path, *, local: bool) -> Path:
    """An example's folder, ready to be deployed, in a folder `target`: its FDL file."""
    fdl = examples.fdl_of(examples.copied(name, target))
    if local and name == "several-providers":
        # Its servers are on loopback here, which image functions of the embedded cloud do not reach.
        text = fdl.read_text()
        fdl.write_text(text.replace("    container:", "    runtime: python3.13\n      container:"))
    return fdl


def _import_the_example() -> None:
    """Let the example's modules import each other as its own program does."""
    if str(VIDEO_EXAMPLE) not in sys.path:
        sys.path.insert(0, str(VIDEO_EXAMPLE))
