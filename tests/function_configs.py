"""The content of a function's `function_config.json`, as the constructs write it."""

from __future__ import annotations

from typing import Any


def function_config(name: str, image: str, bucket: str | None = None, **settings: Any) -> dict[str, Any]:
    """Of a function that reads from the folder `in` of a bucket and writes to `out`, or has no folders."""
    where: dict[str, Any] = {"provider": "s3", "bucket": bucket, "prefixes": [], "suffixes": []}
    return {
        "version": 1,
        "name": name,
        "execution_mode": "lambda",
        "log_level": "INFO",
        "timeout_s": 60,
        "timeout_threshold_s": 5,
        "init_script": None,
        "image": image,
        "container_environment": {},
        "inputs": [{**where, "folder": "in"}] if bucket else [],
        "outputs": [{**where, "folder": "out"}] if bucket else [],
        "batch": None,
        **settings,
    }
