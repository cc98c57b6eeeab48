"""Broken and odd images: each ends as an image that Lambda takes, or with one message that says what is
wrong."""

from __future__ import annotations

import pytest

from containers.assembly import transfer
from containers.errors import ExplainedError
from tests.faults.containers.assembly.images import CASES, Case
from tests.faults.containers.assembly.world import World, package


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_image(case: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = case.stored()
    if case.lenient:
        with world.lenient_source(stored):
            _check(case, world, monkeypatch)
    else:
        world.store(stored)
        _check(case, world, monkeypatch)


def _check(case: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.maximum_bytes is not None:
        monkeypatch.setattr(transfer, "MAXIMUM_PLAIN_BYTES", case.maximum_bytes)
    given = package("#!/bin/sh\n" if case.script else None)
    if case.refused:
        with pytest.raises(ExplainedError) as caught:
            world.assemble(package=given)
        kind, *parts = case.refused
        assert caught.value.kind == kind, caught.value
        assert all(part in str(caught.value) for part in parts), caught.value
        assert caught.value.advice
        assert world.name in str(caught.value)
        assert not [tag for tag in world.tags() if tag.startswith("resize-")]
        if case.early:
            assert not world.tags()
        return
    done = world.assemble(package=given)
    files, contents = world.check(done.digest)
    for path, mode in case.files.items():
        assert (files[path].mode if path in files else None) == mode, path
    for path, text in case.texts.items():
        assert text in contents[path]
    if case.tools:
        world.accepted_by_tools(done.digest)
