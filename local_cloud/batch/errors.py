"""The error that Batch's API answers with."""

from __future__ import annotations


class ClientError(Exception):
    """The caller's mistake: answered as Batch's ClientException, status 400."""
