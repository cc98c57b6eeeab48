"""A container that never stops writing."""

from __future__ import annotations

import io
import sys
import tracemalloc

import pytest

from runtime.logs import ContainerOutput


def test_memory_stays_flat_whatever_the_container_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere(io.TextIOBase):
        def write(self, text: str) -> int:
            return len(text)

    monkeypatch.setattr(sys, "stdout", Nowhere())
    # Threads of other tests may allocate in the same process; output that piles up does so each time.
    assert min(peak_of_an_endless_output() for _ in range(3)) < 2 * 1024 * 1024


def peak_of_an_endless_output() -> int:
    output = ContainerOutput()
    piece = b"\x00" * 65_536
    tracemalloc.start()
    for _ in range(100):
        output.feed(piece)
    for _ in range(100):
        output.feed(b"line\n" * 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(output.last_lines) < 50_000
    return peak
