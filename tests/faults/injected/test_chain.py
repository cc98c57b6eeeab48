"""Some of the faults of `make chaos`: nothing is lost, and with `once: true` nothing is written twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.chain import Chain
from tests.chaos.sequence import Event, plan
from tests.faults.injected.cloud import behind_proxy
from tests.oci_images import busybox_layer

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(busybox_layer() is None, reason="busybox-static is not installed"),
]

FAULTS, SEED = 10, 3


def test_files_come_through_a_chain_of_three_functions_whatever_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCAR_STORE", str(tmp_path / "store"))
    with behind_proxy(tmp_path / "cloud", SEED) as (cloud, proxy):
        chain = Chain(cloud, proxy, tmp_path, SEED, at_once=6, launched=6)
        chain.deploy(FAULTS, once=True)
        assert chain.run(disk=None, clock=None) == 0


def test_a_seed_reproduces_the_sequence_of_faults() -> None:
    assert plan(1000, 7) == plan(1000, 7) != plan(1000, 8)
    kinds = {fault.kind for fault in plan(FAULTS, SEED)}
    assert {Event.EMULATOR, Event.SUPERVISOR, Event.LAUNCHER} <= kinds
