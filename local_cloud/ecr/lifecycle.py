"""Lifecycle policies: which images of a repository have expired.

As in the ECR user guide: rules are evaluated in the order of their priorities; an image that matches a rule's
selection is not evaluated by later rules, whether it expires or not; an image that an index references is
kept.
"""

from __future__ import annotations

import json
import re
from typing import Any

from local_cloud.ecr.repository import StoredImage

_DAY_MS = 86_400_000


def expired(
    policy: dict[str, Any], images: list[StoredImage], parts_of_indexes: set[str], now_ms: int
) -> list[StoredImage]:
    """The images that `policy` (the document of PutLifecyclePolicy) removes at `now_ms` (since 1970)."""
    left = [image for image in images if image.digest not in parts_of_indexes]
    gone: list[StoredImage] = []
    for rule in sorted(policy.get("rules", []), key=lambda rule: int(rule["rulePriority"])):
        selection = rule["selection"]
        matching = [image for image in left if _selects(selection, image.tags)]
        number = int(selection["countNumber"])
        if selection["countType"] == "imageCountMoreThan":
            newest_first = sorted(matching, key=lambda image: -image.pushed_at_ms)
            gone += newest_first[number:]
        elif selection["countType"] == "sinceImagePushed":
            gone += [image for image in matching if now_ms - image.pushed_at_ms > number * _DAY_MS]
        left = [image for image in left if image not in matching]
    return gone


def check_policy(text: str) -> None:
    """Raise ValueError unless `text` is a lifecycle policy that can be applied."""
    try:
        for rule in json.loads(text)["rules"]:
            selection = rule["selection"]
            int(rule["rulePriority"]), int(selection["countNumber"])
            selection["tagStatus"], selection["countType"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{error!r} in {text!r}") from error


def _selects(selection: dict[str, Any], tags: list[str]) -> bool:
    status = selection["tagStatus"]
    if status == "any":
        return True
    if status == "untagged":
        return not tags
    expressions = [f"{re.escape(prefix)}.*" for prefix in selection.get("tagPrefixList", [])]
    for pattern in selection.get("tagPatternList", []):  # which supports only `*`
        expressions.append(".*".join(map(re.escape, pattern.split("*"))))
    # Of several prefixes or patterns, an image must have tags for all.
    return bool(tags) and all(any(re.fullmatch(one, tag) for tag in tags) for one in expressions)
