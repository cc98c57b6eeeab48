"""Existing buckets: names that are taken, and the KMS keys that encrypt them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from scar_cli.deployment import cdk
from scar_cli.deployment.cdk import SynthesizedStack, existing_buckets, key_of_bucket
from scar_cli.errors import UserError

FDL = """\
functions:
  aws:
  - lambda:
      name: f
      container: {image: busybox}
      input:
      - path: pictures/in
"""
KEY = "arn:aws:kms:us-east-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Operation")


class Aws:
    """S3 and KMS, with one bucket."""

    def __init__(self, head: str | None = None, key: str | None = None, refused: str | None = None) -> None:
        self.head = head
        self.key = key
        self.refused = refused

    def head_bucket(self, **_request: Any) -> None:
        if self.head is not None:
            raise refusal(self.head)

    def get_bucket_encryption(self, **_request: Any) -> dict[str, Any]:
        if self.refused is not None:
            raise refusal(self.refused)
        default = {"SSEAlgorithm": "aws:kms", **({"KMSMasterKeyID": self.key} if self.key else {})}
        rules = [{"ApplyServerSideEncryptionByDefault": default}]
        return {"ServerSideEncryptionConfiguration": {"Rules": rules}}

    def describe_key(self, **request: Any) -> dict[str, Any]:
        if request["KeyId"] == "alias/denied":
            raise refusal("AccessDeniedException")
        manager = "AWS" if request["KeyId"] == "alias/aws/s3" else "CUSTOMER"
        return {"KeyMetadata": {"Arn": KEY, "KeyManager": manager}}


@pytest.mark.parametrize(
    ("code", "words"),
    [("403", "The bucket name pictures-x is taken"), ("301", "The bucket pictures-x is in another region")],
)
def test_a_name_that_cannot_be_used_is_reported_with_its_place(
    code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(FDL)
    monkeypatch.setattr(cdk, "client", lambda *_words, **_more: Aws(head=code))
    monkeypatch.setattr(cdk, "ask_why", lambda *_words: None)
    monkeypatch.setattr(cdk, "_owned", lambda _stack: set())
    made = [SynthesizedStack("w", None, ("pictures-x",))]
    place = partial(cdk._place, str(file), {"bucket_suffix": "x"})
    with pytest.raises(UserError) as caught:
        existing_buckets(made, place)
    assert caught.value.cause.startswith(f"{file}:7:15: {words}")
    flags = partial(cdk._place, str(file), {"bucket_suffix": "x", "from_flags": "true"})
    with pytest.raises(UserError) as caught:
        existing_buckets(made, flags)
    assert caught.value.cause.startswith(words)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (None, None),
        (KEY, KEY),
        ("01234567-89ab-cdef-0123-456789abcdef", KEY),
        ("alias/ours", KEY),
        ("alias/aws/s3", None),
    ],
)
def test_the_key_of_a_bucket_is_found(
    key: str | None, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdk, "client", lambda *_words, **_more: Aws(key=key))
    assert key_of_bucket("pictures") == found


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ServerSideEncryptionConfigurationNotFoundError", ""),
        ("AccessDenied", "scar: The encryption of the bucket pictures was not looked up"),
    ],
)
def test_a_bucket_whose_encryption_is_not_known_has_no_key(
    code: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cdk, "client", lambda *_words, **_more: Aws(refused=code))
    assert key_of_bucket("pictures") is None
    assert capsys.readouterr().err.startswith(said)


def test_a_key_that_cannot_be_looked_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdk, "client", lambda *_words, **_more: Aws(key="alias/denied"))
    with pytest.raises(
        UserError, match="The KMS key alias/denied of the bucket pictures cannot be looked up"
    ):
        key_of_bucket("pictures")
