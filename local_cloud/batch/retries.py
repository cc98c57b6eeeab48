"""Retry strategies: which ones the API accepts, and whether a job gets another attempt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from local_cloud.batch.errors import ClientError

_MOST_ATTEMPTS = 10
_MOST_RULES = 5
_PATTERNS = {
    "onExitCode": re.compile(r"[0-9]{0,512}\*?"),
    "onReason": re.compile(r"[0-9A-Za-z.:\s]{0,512}\*?"),
    "onStatusReason": re.compile(r"[0-9A-Za-z.:\s]{0,512}\*?"),
}
"""As in the API reference of EvaluateOnExit."""


def check_strategy(strategy: Mapping[str, Any] | None) -> None:
    """Raise ClientError for a retry strategy that AWS rejects."""
    if not strategy:
        return
    rules = strategy.get("evaluateOnExit") or []
    attempts = strategy.get("attempts")
    if attempts is not None and not 1 <= int(attempts) <= _MOST_ATTEMPTS:
        raise ClientError(f"retryStrategy.attempts must be between 1 and {_MOST_ATTEMPTS}, and is {attempts}")
    if rules and attempts is None:
        raise ClientError("retryStrategy.attempts is required with retryStrategy.evaluateOnExit")
    if len(rules) > _MOST_RULES:
        raise ClientError(
            f"retryStrategy.evaluateOnExit has {len(rules)} rules; the maximum is {_MOST_RULES}"
        )
    for rule in rules:
        if str(rule.get("action", "")).upper() not in ("RETRY", "EXIT"):
            raise ClientError(f"The action of an evaluateOnExit rule must be RETRY or EXIT: {rule}")
        if not any(rule.get(key) for key in _PATTERNS):
            raise ClientError(f"An evaluateOnExit rule needs a condition: {rule}")
        for key, pattern in _PATTERNS.items():
            if rule.get(key) and not pattern.fullmatch(rule[key]):
                raise ClientError(
                    f"Evaluate on exit condition contains restricted characters: {key} {rule[key]!r}"
                )


def may_retry(job: Mapping[str, Any], exit_code: int | None, reason: str | None, status_reason: str) -> bool:
    """Whether the retry strategy gives the job, whose last attempt failed in this way, another one.

    The first rule whose conditions all match decides. Patterns are case-sensitive.
    """
    strategy = job.get("retryStrategy") or {}
    if len(job["attempts"]) >= int(strategy.get("attempts", 1)):
        return False
    met = {
        "onExitCode": "" if exit_code is None else str(exit_code),
        "onReason": reason or "",
        "onStatusReason": status_reason,
    }
    for rule in strategy.get("evaluateOnExit", []):
        if all(_matches(met[key], rule[key]) for key in met if rule.get(key)):
            return str(rule.get("action", "")).upper() == "RETRY"
    return True


def _matches(value: str, pattern: str) -> bool:
    """Whether a value matches a pattern, in which only a final `*` is special."""
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern
