from __future__ import annotations

import os

import pytest

from toolchain.node import bundled_node, choose_node, npm_program


def test_bundled_node_is_used_unless_another_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JSII_NODE", raising=False)
    choose_node()
    node = bundled_node()
    assert node is not None
    assert os.environ["JSII_NODE"] == str(node)
    assert os.access(node, os.X_OK)
    monkeypatch.setenv("JSII_NODE", "/usr/bin/node")
    choose_node()
    assert os.environ["JSII_NODE"] == "/usr/bin/node"


def test_npm_comes_with_node() -> None:
    npm = npm_program()
    assert npm is not None
    assert npm.is_file()
