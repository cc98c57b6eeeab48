"""Filters of bucket notifications: prefix and suffix are URL-encoded, a space as `+`.

Source: "Configuring event notifications using object key name filtering" in the user guide of Amazon S3.
ministack compares the encoded text with the key itself.
"""

from __future__ import annotations

from urllib.parse import unquote_plus

from ministack.services import s3


def install() -> None:
    """Take the place of ministack's comparison."""
    s3._key_matches_filter = passes


def passes(key: str, prefix: str | None, suffix: str | None) -> bool:
    """Whether an object of this key is one that the filter lets through."""
    return key.startswith(unquote_plus(prefix or "")) and key.endswith(unquote_plus(suffix or ""))
