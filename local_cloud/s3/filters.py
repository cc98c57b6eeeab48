"""Filters of bucket notifications, compared as S3 compares them.

S3 wants the prefix and the suffix of a filter URL-encoded, a space as `+`: "Configuring event notifications
using object key name filtering" in its user guide. So a folder `words and more` stands as `words+and+more/`
in the CDK's template and in the bucket's configuration. ministack compares that text with the key itself.
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
