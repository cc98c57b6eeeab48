"""Where the contract suite runs: five ways to call the same three functions.

Each environment answers an event with what the run wrote and how it ended (`Outcome`), whatever the way
there: Lambda's answer, or the log and the exit code of a Batch job.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import pytest

from containers.assembly import TargetRepository, Wanted, assemble, this_runner
from scar_constructs.functions.runner_asset import build_runner
from tests.cloud.ecr_images import login, make_repository
from tests.cloud.embedded import CloudUnderTest, any_role, finished, log_of, make_queue
from tests.contract.case import Case
from tests.contract.images import contract_images
from tests.oci_images import write_layout
from tests.runtime_interface_emulator import emulated, unpack

VARIABLES = {"CONT_VAR_COLOR": "red"}
"""Of the function's environment."""
_FAKECHROOT = next(iter(sorted(Path("/usr/lib").glob("*/fakechroot/libfakechroot.so"))), None)
_NOBODY = 65534
_ANSWER_S = 120.0


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    output: str
    """The last lines of standard output and standard error."""
    error: str = ""
    """Kind and message of a failure; empty: it went well."""


class Environment(Protocol):
    """One of the five."""

    @property
    def name(self) -> str:
        """As `differs` of a case names it."""

    def prepare(self, cases: Sequence[Case]) -> None:
        """These are going to run."""

    def run(self, image: str, event: Mapping[str, Any]) -> Outcome:
        """Have an event handled by the function of an image."""


@dataclass
class Deployed:
    """The three functions on the embedded cloud; their images are assembled when they are wanted."""

    cloud: CloudUnderTest
    bucket: str
    folder: Path
    """Anybody may read it."""

    @property
    def mirror(self) -> Path:
        """Of docker.io, with the images as the user has them."""
        return self.folder / "mirror"

    @functools.cached_property
    def s3(self) -> Any:
        """A client."""
        return self.cloud.client("s3")

    def put_inputs(self, case: Case) -> None:
        """The objects that a case's event is about."""
        for key, content in case.inputs.items():
            if content is not None:
                self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)

    def credentials(self) -> dict[str, str]:
        """Variables of a function outside the cloud that is to use it."""
        environ = self.cloud.environment()
        return {name: value for name, value in environ.items() if name.startswith("AWS_")}

    @functools.cached_property
    def assembled(self) -> dict[str, str]:
        """URIs of the assembled images in the embedded cloud's registry, by name."""
        repository, runner = make_repository(self.cloud), this_runner()
        ecr = self.cloud.client("ecr")
        uri = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]["repositoryUri"]
        host, password = login(self.cloud)
        target = TargetRepository(f"http://{host}", repository, credentials=lambda _host: ("AWS", password))
        return {
            name: f"{uri}@{assemble(self._wanted(name), target, runner).digest}" for name in contract_images()
        }

    def layout(self, name: str) -> Path:
        """The assembled image as an OCI image layout, with the tag `image`."""
        layout = self.folder / "layouts" / name
        layout.parent.mkdir(exist_ok=True)
        host, password = login(self.cloud)
        source = f"docker://{host}/{self.assembled[name].partition('/')[2]}"
        login_of_skopeo = ["--src-tls-verify=false", f"--src-creds=AWS:{password}"]
        subprocess.run(["skopeo", "copy", "-q", *login_of_skopeo, source, f"oci:{layout}:image"], check=True)
        return layout

    def _wanted(self, name: str) -> Wanted:
        return Wanted(
            function=name,
            package=contract_images()[name].package(name, self.bucket),
            architecture={"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            image=f"contract/{name}",
            mirrors=f"docker.io=file://{self.mirror}",
        )


def deploy(cloud: CloudUnderTest, folder: Path) -> Deployed:
    """A bucket for the functions, and their images where registries are mirrored."""
    bucket = f"contract-{uuid.uuid4().hex[:8]}"
    cloud.client("s3").create_bucket(Bucket=bucket)
    deployed = Deployed(cloud, bucket, folder)
    for name, image in contract_images().items():
        write_layout(deployed.mirror / "contract" / name, {"latest": image.image})
    return deployed


@contextlib.contextmanager
def environment(name: str, deployed: Deployed) -> Iterator[Environment]:
    """The environment of that name, until the end of the `with`."""
    with contextlib.ExitStack() as held:
        if name == "emulator":
            yield _Emulator(deployed, held)
        elif name == "cloud":
            yield _Cloud(deployed, deployed.cloud.client("lambda"))
        elif name == "batch":
            yield _Batch(deployed, deployed.cloud.client("batch"))
        elif name == "namespaces":
            yield _in_namespaces(deployed, held)
        else:
            yield _by_fakechroot(deployed, held)


def _outcome(answer: Any) -> Outcome:
    """Of what Lambda answers. An error's message holds the last lines of output, too."""
    if isinstance(answer, dict) and "errorMessage" in answer:
        message = answer["errorMessage"]
        output = message.partition("last lines of its output:\n")[2].rpartition("\nrequest id: ")[0]
        return Outcome(output, message)
    results = answer.get("results") if isinstance(answer, dict) else None
    return Outcome(results[0].get("output", "") if results else "")


# AWS's Runtime Interface Emulator.


@dataclass
class _Emulator:
    deployed: Deployed
    held: contextlib.ExitStack
    invoke: dict[str, Any] = field(default_factory=dict)
    name: str = "emulator"

    def prepare(self, cases: Sequence[Case]) -> None:
        pass

    def run(self, image: str, event: Mapping[str, Any]) -> Outcome:
        if image not in self.invoke:
            bundle = self.deployed.folder / "bundles" / image
            config = unpack(self.deployed.layout(image), bundle)
            credentials = self.deployed.credentials()
            self.invoke[image] = self.held.enter_context(
                emulated(bundle, config, {**VARIABLES, **credentials}, self.deployed.folder / "emulator.log")
            )
        return _outcome(self.invoke[image](event))


# The embedded cloud: Lambda.


@dataclass
class _Cloud:
    deployed: Deployed
    api: Any
    made: set[str] = field(default_factory=set)
    name: str = "cloud"

    def prepare(self, cases: Sequence[Case]) -> None:
        pass

    def run(self, image: str, event: Mapping[str, Any]) -> Outcome:
        function = f"{self.deployed.bucket}-{image}"
        if image not in self.made:
            self.api.create_function(
                FunctionName=function,
                PackageType="Image",
                Code={"ImageUri": self.deployed.assembled[image]},
                Role=any_role(self.deployed.cloud),
                Environment={"Variables": VARIABLES},
                ImageConfig={"Command": ["lambda"]},
                Timeout=60,
                MemorySize=1024,
            )
            self.made.add(image)
        answer = self.api.invoke(FunctionName=function, Payload=json.dumps(event))
        return _outcome(json.loads(answer["Payload"].read()))


# The embedded cloud: Batch.


@dataclass
class _Batch:
    deployed: Deployed
    api: Any
    queues: dict[str, tuple[str, str]] = field(default_factory=dict)
    submitted: dict[str, str] = field(default_factory=dict)
    name: str = "batch"

    def prepare(self, cases: Sequence[Case]) -> None:
        """Submit them now, so that several jobs run at once."""
        for case in cases:
            self.deployed.put_inputs(case)
            self._submit(case.image, case.event_for(self.deployed.bucket))

    def _submit(self, image: str, event: Mapping[str, Any]) -> str:
        if image not in self.queues:
            container = {
                "image": self.deployed.assembled[image],
                "environment": [{"name": name, "value": value} for name, value in VARIABLES.items()],
                "jobRoleArn": any_role(self.deployed.cloud),
            }
            self.queues[image] = make_queue(self.deployed.cloud, ["batch"], containerProperties=container)
        queue_arn, definition = self.queues[image]
        text = json.dumps(event)
        key = f"{image} {text}"
        if key not in self.submitted:
            job = self.api.submit_job(
                jobName="contract",
                jobQueue=queue_arn,
                jobDefinition=definition,
                containerOverrides={"environment": [{"name": "SCAR_EVENT", "value": text}]},
            )
            self.submitted[key] = job["jobId"]
        return self.submitted[key]

    def run(self, image: str, event: Mapping[str, Any]) -> Outcome:
        job = finished(self.deployed.cloud, self._submit(image, event))
        output, errors = [], []
        for line in log_of(self.deployed.cloud, job):
            if not line.startswith('{"scar": 1, '):
                output.append(line)
            elif (fields := json.loads(line))["message"] == "failed":
                errors.append(f"{fields['kind']}: {fields['error']}")
        if job["status"] == "FAILED":
            errors.append(f"exit code of the job: {job['container'].get('exitCode')}")
        return Outcome("\n".join(output[-40:]), "\n".join(errors))


# Pulled images.


def _in_namespaces(deployed: Deployed, held: contextlib.ExitStack) -> _Pulled:
    settings = {"SCAR_ENGINE": "namespaces"}
    return _Pulled("namespaces", deployed, held, _packaged(deployed, held), _plainly, settings)


def _by_fakechroot(deployed: Deployed, held: contextlib.ExitStack) -> _Pulled:
    if _FAKECHROOT is None or os.geteuid() != 0:
        pytest.skip("needs root and the package libfakechroot")
    place = _packaged(deployed, held)
    library = f"libfakechroot-Debian-12-{platform.machine()}.so"
    (place / "tools/lib").mkdir(parents=True)
    shutil.copy(_FAKECHROOT, place / "tools/lib" / library)
    subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True)
    settings = {"SCAR_ENGINE": "fakechroot", "SCAR_UDOCKER_TOOLS": "/srv/tools"}
    return _Pulled("fakechroot", deployed, held, place, _jailed, settings)


def _packaged(deployed: Deployed, held: contextlib.ExitStack) -> Path:
    """The runner's layer, and the functions' packages."""
    place = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="scar-contract-pulled-")))
    place.chmod(0o755)
    build_runner(place / "layer", None)
    for name, image in contract_images().items():
        image.write_package(place / "functions" / name, name, deployed.bucket)
    shutil.copy(Path(__file__).with_name("pulled_process.py"), place)
    shutil.copytree(deployed.mirror, place / "mirror")
    subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True)
    return place


def _plainly(place: Path, image: str, variables: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    store = place / "store"
    store.mkdir(exist_ok=True)
    variables = {
        **variables,
        "LAMBDA_TASK_ROOT": str(place / "functions" / image),
        "SCAR_REGISTRY_MIRRORS": f"docker.io=file://{place}/mirror",
        "SCAR_STORE": str(store),
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-I", "-S", str(place / "pulled_process.py"), str(place / "layer")]
    return command, variables


def _jailed(place: Path, image: str, variables: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """As on AWS Lambda: no namespaces, no mounts, everything read-only but /tmp, nobody's rights."""
    python = Path(sys.executable).resolve()
    (place / "python").mkdir(exist_ok=True)
    variables = {
        **variables,
        "LAMBDA_TASK_ROOT": f"/srv/functions/{image}",
        "SCAR_REGISTRY_MIRRORS": "docker.io=file:///srv/mirror",
        "LD_LIBRARY_PATH": "/srv/python/lib",
        "PATH": "/nowhere",
    }
    command = [
        *("bwrap", "--dev-bind", "/", "/", "--ro-bind", str(python.parent.parent), str(place / "python")),
        *("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--no-new-privs"),
        *("bwrap", "--unshare-user", "--disable-userns", "--unshare-pid", "--die-with-parent", "--clearenv"),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", str(place), "/srv"),
        *("--proc", "/proc", "--chdir", "/srv"),
        *(part for name, value in variables.items() for part in ("--setenv", name, value)),
        *(f"/srv/python/bin/{python.name}", "-I", "-S", "/srv/pulled_process.py", "/srv/layer"),
    ]
    return command, dict(os.environ)


@dataclass
class _Pulled:
    name: str
    deployed: Deployed
    held: contextlib.ExitStack
    place: Path
    command: Any
    settings: Mapping[str, str]
    processes: dict[str, _Process] = field(default_factory=dict)

    def prepare(self, cases: Sequence[Case]) -> None:
        pass

    def run(self, image: str, event: Mapping[str, Any]) -> Outcome:
        if image not in self.processes:
            variables = {**VARIABLES, **self.settings, **self.deployed.credentials()}
            command, environ = self.command(self.place, image, variables)
            process = self.held.enter_context(_Process(command, environ, self.place / f"{image}.log"))
            self.processes[image] = process
            with contextlib.suppress(AssertionError):
                process.ask({"preheat": True})
        return _outcome(self.processes[image].ask(event))


class _Process:
    """A process that answers lines of JSON with lines of JSON."""

    def __init__(self, command: list[str], environ: dict[str, str], log: Path) -> None:
        self._log = log
        self._answers: queue.Queue[str] = queue.Queue()
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input: IO[str] = self._process.stdin
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, event: Mapping[str, Any]) -> Any:
        self._input.write(json.dumps(event) + "\n")
        self._input.flush()
        line = self._answers.get(timeout=_ANSWER_S)
        assert line, self._log.read_text(errors="replace")
        return json.loads(line)

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._answers.put(line)
        self._answers.put("")
