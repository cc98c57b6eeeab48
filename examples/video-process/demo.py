"""`make demo`: run the video workflow of scar-video-process.yaml on this machine.

    images ─► video ─► embedded cloud ─► cdk deploy ─► scar put ─► watch ─► results, scar report

A Batch job splits 1 video into 68 images, and Lambda invocations turn these into 68 results. Anything else is
a failure, with a reason and exit code 1. All files are below build/: images and wheels are kept for the next
run, the state of the cloud and the results are replaced. The cloud ends with this program, however it ends.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deployment import deploy, put, report
from images.build_images import build_images, ffmpeg_program
from images.wheels import WheelError
from make_video import SECONDS, VideoError, make_video, truth
from processes import ProgramError
from results.contact_sheet import draw_contact_sheet
from results.frames import FrameResult, read_results, recalls
from rich.console import Console
from watching.live_view import LiveView
from watching.workflow import Progress, VideoWorkflow

from containers.building.errors import BuildError
from local_cloud.cloud import Cloud, CloudError, Running
from scar_cli.aws.session import client
from scar_cli.errors import UserError

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
BUILD = REPOSITORY / "build"
DEMO = BUILD / "demo"
FDL = HERE / "scar-video-process.yaml"
_RUN_WITHIN_S = 30 * 60.0
_POLL_EVERY_S = 1.0
_LAST_LINE_WITHIN_S = 20.0
_WOULD_WIN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")
"""Variables that would override the credentials of the embedded cloud."""
_INTERRUPTED, _TERMINATED = 130, 143
_REPORT = DEMO / "report.html"
_TITLE = "1 video, 68 images, 68 results"


class DemoError(Exception):
    """The demo failed; the message explains why and where to look."""


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="make demo", description="Run the video workflow on the embedded cloud."
    )
    parser.add_argument(
        "--images",
        choices=("local", "hub"),
        default="local",
        help="use the images built here, or those of Docker Hub [default: local]",
    )
    images = parser.parse_args().images
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, _terminate)
    known = (DemoError, ProgramError, WheelError, BuildError, VideoError, CloudError, UserError)
    try:
        DEMO.mkdir(parents=True, exist_ok=True)
        with _alone():
            return Demo(console, images).run()
    except known as error:
        console.print(f"\n[bold red]The demo failed.[/] {_plain(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted. Everything that was started is stopped.")
        return _INTERRUPTED


class Demo:
    """One run of the demo."""

    def __init__(self, console: Console, images: str) -> None:
        self.console, self.images = console, images
        self.started = time.monotonic()

    def run(self) -> int:
        """Run all steps; returns the exit code."""
        for old in ("results", "store", "contact-sheet.png", "report.html", "report.json"):
            _remove(DEMO / old)
        if self.images == "local":
            with self.step("Container images") as note:
                built = build_images(BUILD / "images", BUILD / "wheels", lambda _: None)
                note(", ".join(f"{image.name} {image.size / 1e6:.0f} MB" for image in built))
        with self.step("Video") as note:
            video = self.video()
            note(f"{video.name}, {SECONDS} s, {video.stat().st_size / 1e6:.1f} MB")
        # Inherited by the cloud and its workers: the source of images, and where they are unpacked.
        os.environ["SCAR_STORE"] = str(DEMO / "store")
        os.environ.pop("SCAR_REGISTRY_MIRRORS", None)
        if self.images == "local":
            mirror = (BUILD / "images").as_uri().replace(",", "%2C")
            os.environ["SCAR_REGISTRY_MIRRORS"] = f"docker.io={mirror}"
        cloud = Cloud(DEMO / "cloud")
        cloud.reset()
        try:
            with self.step("Embedded cloud") as note:
                running = cloud.start(tied=True)
                note(running.endpoint)
            return self.in_cloud(running, video)
        finally:
            cloud.stop()
            _remove(DEMO / "store")

    def video(self) -> Path:
        """The video; a video of an earlier run is reused if its sources are the same."""
        sources = b"".join((HERE / name).read_bytes() for name in ("make_video.py", "pictures.txt"))
        folder = DEMO / f"video-{hashlib.sha256(sources).hexdigest()[:12]}"
        for old in DEMO.glob("video-*"):
            if old != folder:
                _remove(old)
        make_video(ffmpeg_program(BUILD / "wheels"), BUILD / "wheels", folder / "seq1.avi")
        return folder / "seq1.avi"

    def in_cloud(self, running: Running, video: Path) -> int:
        """Deploy, upload, watch, and report the results."""
        for name in _WOULD_WIN:
            os.environ.pop(name, None)
        os.environ.update(running.environment(), NO_COLOR="1")
        with self.step("cdk deploy -c fdl=examples/video-process/scar-video-process.yaml") as note:
            deploy(FDL, DEMO, note)
        workflow = VideoWorkflow(FDL.stem)
        with self.step(f"scar put -b {workflow.split.inputs[0]} -p {video.name}"):
            put(video, workflow.split.inputs[0], DEMO)
        uploaded = time.monotonic()
        progress = self.watch(workflow, running.parallel)
        elapsed_s = time.monotonic() - uploaded
        _check(progress, workflow)
        with self.step(f"scar report -f {FDL.relative_to(REPOSITORY)}"):
            _report()
        frames = self.download(workflow)
        if [frame.second for frame in frames] != list(range(SECONDS)):
            raise DemoError(
                f"Expected one result for each of {SECONDS} seconds. The results are in {DEMO / 'results'}"
            )
        self.show(frames, progress, elapsed_s)
        return 0

    def watch(self, workflow: VideoWorkflow, parallel: int) -> Progress:
        """Show the progress until the workflow has finished or failed."""
        deadline = time.monotonic() + _RUN_WITHIN_S
        with LiveView(self.console, SECONDS, parallel).shown() as view:
            while True:
                progress = workflow.progress()
                view.update(progress)
                if progress.at_rest or progress.job_failed or progress.failures:
                    return progress
                if time.monotonic() > deadline:
                    raise DemoError(
                        f"Not finished after {_RUN_WITHIN_S / 60:.0f} minutes: {view.line(progress)}. "
                        f"The cloud's log is {DEMO / 'cloud' / 'cloud.log'}"
                    )
                time.sleep(_POLL_EVERY_S)

    def download(self, workflow: VideoWorkflow) -> list[FrameResult]:
        """Download the output files into build/demo/results, and compare them with the expected ones."""
        folder = DEMO / "results"
        folder.mkdir()
        path = workflow.detect.outputs[0]
        for key in workflow.keys(path):
            name = key.rpartition("/")[2]
            if name not in ("", ".", ".."):
                client("s3").download_file(path.partition("/")[0], key, str(folder / name))
        return read_results(folder, truth)

    def show(self, frames: list[FrameResult], progress: Progress, elapsed_s: float) -> None:
        """Draw the contact sheet, and print what was found and where everything is."""
        sheet = DEMO / "contact-sheet.png"
        detector = "OpenCV's Haar cascades" if self.images == "local" else "darknet"
        draw_contact_sheet(
            frames, sheet, _TITLE, f"{FDL.name} on the embedded cloud; objects detected by {detector}"
        )
        self.console.print()
        for recall in recalls(frames):
            more = f", and in {recall.imagined} frames without one" if recall.imagined else ""
            self.console.print(f"  {recall.label}: detected in {recall.seen} of {recall.there} frames{more}")
        self.console.print(
            f"\n[bold green]1 video became {progress.images} images became {progress.results} results[/] "
            f"in {elapsed_s:.0f} s ({time.monotonic() - self.started:.0f} s in total).",
            soft_wrap=True,
        )
        self.console.print(
            f"  results        {DEMO / 'results'}\n  contact sheet  {sheet}\n  report         {_REPORT}",
            soft_wrap=True,
        )

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show a step while it runs, and then its duration; yields a function that shows details."""
        started, said = time.monotonic(), [""]
        with self.console.status(f"{name} …") as status:

            def note(text: str) -> None:
                said[0] = text
                status.update(f"{name} … [dim]{text}[/]")

            yield note
        took = time.monotonic() - started
        details = f"  [dim]{said[0]}[/]" if said[0] else ""
        self.console.print(f"[green]✓[/] {name} [dim]{took:.1f} s[/]{details}", soft_wrap=True)


def _report() -> None:
    """Write the report. The log line of the last run may appear shortly after its result."""
    deadline = time.monotonic() + _LAST_LINE_WITHIN_S
    while report(FDL, _REPORT)["totals"]["files"]["done"] != 1 + SECONDS and time.monotonic() < deadline:
        time.sleep(_POLL_EVERY_S)


def _check(progress: Progress, workflow: VideoWorkflow) -> None:
    if progress.images == progress.results == SECONDS and not progress.failures and not progress.job_failed:
        return
    what = (
        f"Expected {SECONDS} images and {SECONDS} results from 1 video, but found {progress.images} images "
        f"and {progress.results} results (failures: {progress.failures})"
    )
    if reason := workflow.reason():
        what += f". Last error: {reason}"
    raise DemoError(f"{what}\nThe cloud's log is {DEMO / 'cloud' / 'cloud.log'}")


@contextmanager
def _alone() -> Iterator[None]:
    """One demo at a time in a checkout: a second one would delete the state of the first one's cloud."""
    with (DEMO / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                "Another demo is running in this folder. Wait for it, or stop it with Ctrl-C."
            ) from None
        yield


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _terminate(_signal: int, _frame: object) -> None:
    """Unwind as after Ctrl-C, so that everything that was started is stopped."""
    raise SystemExit(_TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
