"""The examples, deployed as they are and run for real, with images of the same names that are made here.

Each is a stack of its own; one deployment creates all of them, since most of its time is that of starting the
CDK. Every function has the rights of its own role and no more. `tests/proof` has the cases, and
`make prove-on-aws` runs the same ones on AWS.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from local_cloud.cloud import Cloud
from tests import examples
from tests.cloud.cdk_cli import Cdk
from tests.cloud.embedded import CloudUnderTest
from tests.proof.cases import CASES, Case
from tests.proof.neighbours import copied, images, neighbours
from tests.proof.place import Place

pytestmark = pytest.mark.cloud

ELSEWHERE = "video-process"
"""`make demo` and its own tests run this one."""
DEPLOYED = [case for case in CASES if case.example != ELSEWHERE]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """All examples that can run on the embedded cloud, deployed on one of their own."""
    if not examples.busybox_layers():
        pytest.skip("a static busybox is needed (Debian: apt install busybox-static)")
    folder = tmp_path_factory.mktemp("examples")
    embedded = Cloud(folder / "cloud")
    cloud = CloudUnderTest(embedded, embedded.start(tied=True))
    try:
        with neighbours(cloud.running, cloud.client("secretsmanager"), folder / "neighbours") as beside:
            for case in DEPLOYED:
                copied(case.example, folder / "fdl", local=True)
            Cdk({**cloud.environment(), **beside.variables()}, folder / "cdk.out")(
                "deploy",
                folder / "fdl",
                *("--app", f"{sys.executable} -m tests.cloud.examples_app", "--all", "--concurrency", "4"),
                registry_mirrors=f"docker.io={images(folder)}",
            )
            yield Place(cloud.client, cloud.endpoint, neighbours=beside)
    finally:
        embedded.stop()


@pytest.mark.parametrize("case", DEPLOYED, ids=lambda case: case.example)
def test_an_example_gives_the_results_that_it_promises(place: Place, case: Case) -> None:
    case.run(place, "first")


def test_every_example_is_a_case() -> None:
    assert sorted(case.example for case in CASES) == examples.names()
