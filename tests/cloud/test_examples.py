"""The examples, deployed as they are and run for real, with images of the same names that are made here.
And the projects that `scar new` writes, which need no registry.

Each is a stack of its own; one deployment creates all of them, since most of its time is that of loading the
CDK. Every function has the rights of its own role and no more. `tests/proof` has the cases, and
`make prove-on-aws` runs the same ones on AWS. The template `function` of `scar new` is deployed by its own
`cdk.json` in test_installed_package.py.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from local_cloud.cloud import Cloud
from scar_cli.commands.new import KINDS
from tests import examples
from tests.cloud.deployments import deploy
from tests.cloud.embedded import CloudUnderTest, keys, until
from tests.cloud.scar_command import Scar
from tests.proof.cases import CASES, Case
from tests.proof.neighbours import copied, images, neighbours
from tests.proof.place import Place

pytestmark = pytest.mark.cloud

ELSEWHERE = "video-process"
"""`make demo` and its own tests run this one."""
DEPLOYED = [case for case in CASES if case.example != ELSEWHERE]
TEXT = b"The cat and the dog. And, THE end\n"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudUnderTest]:
    """A cloud of their own."""
    embedded = Cloud(tmp_path_factory.mktemp("examples-cloud"))
    yield CloudUnderTest(embedded, embedded.start(tied=True))
    embedded.stop()


@pytest.fixture(scope="module")
def place(cloud: CloudUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """All examples that can run on the embedded cloud, and all new projects, deployed."""
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    folder = tmp_path_factory.mktemp("examples")
    with neighbours(cloud.running, cloud.client("secretsmanager"), folder / "neighbours") as beside:
        for case in DEPLOYED:
            copied(case.example, folder / "fdl", local=True)
        for kind in KINDS:
            if kind != "function":
                with chdir(folder / "fdl"):
                    Scar(cloud)("new", f"new-{kind}", "-t", kind)
        deploy(
            cloud,
            folder / "cdk.out",
            app=("-m", "tests.cloud.examples_app"),
            variables=beside.variables(),
            fdl=str(folder / "fdl"),
            registry_mirrors=f"docker.io={images(folder)}",
        )
        yield Place(cloud.client, cloud.endpoint, neighbours=beside)


@pytest.fixture
def scar(cloud: CloudUnderTest, place: Place) -> Scar:
    """The command, where everything is deployed."""
    return Scar(cloud)


@pytest.mark.parametrize("case", DEPLOYED, ids=lambda case: case.example)
def test_an_example_gives_the_results_that_it_promises(place: Place, case: Case) -> None:
    case.run(place, "first")


def test_every_example_is_a_case() -> None:
    assert sorted(case.example for case in CASES) == examples.names()


def results(scar: Scar, bucket: str, *expected: str) -> list[bytes]:
    s3 = scar.cloud.client("s3")
    until(lambda: set(expected) - set(keys(scar.cloud, bucket, "")), lambda missing: not missing, 120)
    return [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in expected]


def test_new_workflow_runs_its_second_function_on_each_part(scar: Scar) -> None:
    scar.put("new-workflow-files", "input/n.txt", "".join(f"{n}\n" for n in range(1, 26)).encode())
    names = [f"output/n.txt.aaa{letter}.words" for letter in "abc"]
    counted = results(scar, "new-workflow-files", *names)
    assert [len(table.splitlines()) for table in counted] == [10, 10, 5]


def test_new_batch_runs_a_job(scar: Scar) -> None:
    scar.put("new-batch-files", "input/a.txt", TEXT)
    (packed,) = results(scar, "new-batch-files", "output/a.txt.gz")
    assert gzip.decompress(packed) == TEXT


def test_new_http_answers_a_signed_request(scar: Scar, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT)
    answer = scar("invoke", "-n", "new-http", "-db", str(tmp_path / "a.txt")).stdout
    assert json.loads(answer) == {"bytes": len(TEXT), "sha256": hashlib.sha256(TEXT).hexdigest()}
