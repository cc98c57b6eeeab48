"""Where secrets come from, when they are read, and that no message shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from containers.errors import ExplainedError
from runtime.config import SecretField, StorageConnection
from runtime.storage import open_storage
from runtime.storage.contract import CredentialsRefusedError, Upload
from runtime.storage.secrets import settings_of
from tests.unit.runtime.storage.conftest import Vault
from tests.unit.runtime.storage.servers import LOGIN, PASSWORD, Running


def home(hostname: str, password: SecretField) -> StorageConnection:
    return StorageConnection("webdav.home", {"hostname": hostname, "login": LOGIN, "password": password})


def put(provider: StorageConnection, folder: Path, name: str = "a") -> None:
    (folder / "up").write_bytes(b"hello")
    open_storage(provider.name, {provider.name: provider}).upload([Upload(folder / "up", "out", name, 5)])


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("plain", "plain"),
        ("with newline\n", "with newline"),
        ({"password": "inside", "other": 1}, "inside"),
        ({"password": 1234}, "1234"),
        ("1234", "1234"),
        ("[not json", "[not json"),
        (" spaces stay ", " spaces stay "),
    ],
)
def test_secret_is_text_or_a_member_of_an_object(content: object, value: str, vault: Vault) -> None:
    name = vault.keep(content)
    for reference in (name, vault.arn(name)):
        assert settings_of(home("h", SecretField(reference)))["password"] == value


def test_secret_of_the_stack_has_a_member_for_each_provider(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = vault.keep({"webdav.home": {"password": "from the stack"}, "webdav.other": {"password": "x"}})
    monkeypatch.setenv("SCAR_STORAGE_SECRET", vault.arn(name))
    assert settings_of(home("h", SecretField(None))) == {
        "hostname": "h",
        "login": LOGIN,
        "password": "from the stack",
    }


@pytest.mark.parametrize(
    "content",
    [{"pass": "hidden"}, {"password": None}, {"password": ["hidden"]}, {"password": ""}, "hid\nden", "\n"],
)
def test_secret_that_cannot_be_used_is_told_and_not_shown(content: object, vault: Vault) -> None:
    name = vault.keep(content)
    with pytest.raises(ExplainedError) as caught:
        settings_of(home("h", SecretField(name)))
    assert caught.value.kind == "SecretUnavailable"
    assert f"The secret {name} (password of the storage provider webdav.home)" in str(caught.value)
    assert "hid" not in str(caught.value)


@pytest.mark.parametrize("stack", [{}, {"webdav.home": {}}, {"webdav.home": "hidden"}])
def test_secret_of_the_stack_without_the_member_is_told(
    stack: object, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCAR_STORAGE_SECRET", vault.keep(stack))
    with pytest.raises(ExplainedError, match=r"without a string 'webdav\.home\.password'"):
        settings_of(home("h", SecretField(None)))


def test_secret_that_is_absent_is_told(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExplainedError) as caught:
        settings_of(home("h", SecretField("scar/none")))
    assert caught.value.kind == "SecretUnavailable"
    assert "The secret scar/none (password of the storage provider webdav.home) does not exist" in str(
        caught.value
    )
    monkeypatch.delenv("SCAR_STORAGE_SECRET", raising=False)
    with pytest.raises(ExplainedError, match="SCAR_STORAGE_SECRET is not set") as caught:
        settings_of(home("h", SecretField(None)))
    assert caught.value.kind == "Misconfigured"


def test_token_with_characters_that_no_header_has_is_refused(vault: Vault) -> None:
    provider = StorageConnection("onedata.x", {"token": SecretField(vault.keep("tökén"))})
    with pytest.raises(ExplainedError, match="contains characters that are invalid in token"):
        settings_of(provider)


def test_secret_is_read_once_and_again_when_it_was_refused(
    vault: Vault, dav: Running, tmp_path: Path
) -> None:
    name = vault.keep(PASSWORD)
    provider = home(dav.url, SecretField(name))
    put(provider, tmp_path)
    vault.change(name, "changed, and nobody told the server")
    put(provider, tmp_path, "b")  # the one that was read before
    assert set(dav.watch.files()) == {"out/a", "out/b"}

    stale = vault.keep("old password")
    provider = home(dav.url, SecretField(stale))
    with pytest.raises(CredentialsRefusedError):
        put(provider, tmp_path, "c")
    vault.change(stale, PASSWORD)
    put(provider, tmp_path, "c")
    assert set(dav.watch.files()) == {"out/a", "out/b", "out/c"}


def test_neither_messages_nor_reprs_show_a_secret(
    vault: Vault, dav: Running, tmp_path: Path, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    provider = home(dav.url, SecretField(vault.keep("top-secret")))
    with pytest.raises(CredentialsRefusedError) as caught:
        put(provider, tmp_path)
    assert "top-secret" not in f"{caught.value!r} {caught.value} {provider!r} {provider}"
