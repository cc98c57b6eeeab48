"""cfn-lint, as tests use it. Its rules are loaded once in a process, when the first template is linted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

REGION = "us-east-1"

_RESOURCE_RULE = "E3001"
"""The rule of cfn-lint that looks at each resource, with all the rules that hang on it."""


def lint(template: Path, *ignored: str) -> list[str]:
    """What cfn-lint finds in a template; `ignored` are rules that do not count."""
    from cfnlint.config import ConfigMixIn
    from cfnlint.runner import run_template_by_file_path

    found = run_template_by_file_path(str(template), ConfigMixIn(regions=[REGION]), _rules(), False)
    return [
        f"{match.rule.id}: {match.message} at {'/'.join(map(str, match.path or ()))}"
        for match in found
        if match.rule.id not in ignored
    ]


@cache
def _rules() -> Any:
    from cfnlint.config import ConfigMixIn
    from cfnlint.runner import Runner

    rules = Runner(ConfigMixIn(regions=[REGION])).rules  # reading them takes longer than using them
    _remember_clean_resources(next(rule for rule in rules.values() if rule.id == _RESOURCE_RULE))
    return rules


def _remember_clean_resources(rule: Any) -> None:
    """Let a resource whose like passed before pass at once: three in four occur in other documents too.

    Alike: the same in every character, and what it names is of the same types. What the linter finds by a
    look at the whole template (names given twice, circles) has rules of its own, which see every resource.
    """
    clean: set[bytes] = set()
    check = rule.validators["patternProperties"]

    def remembering(validator: Any, patterns: Any, resources: Any, schema: Any) -> Iterator[Any]:
        if patterns is not rule.schema["patternProperties"]:  # deeper down
            yield from check(validator, patterns, resources, schema)
            return
        for name, resource in resources.items():
            likeness = _likeness(resource, resources)
            if likeness in clean:
                continue
            found = list(check(validator, patterns, {name: resource}, schema))
            if all(_goes_unsaid(error, resource) for error in found):
                clean.add(likeness)
            yield from found

    rule.validators["patternProperties"] = remembering


def _goes_unsaid(error: Any, resource: Any) -> bool:
    """Whether cfn-lint drops what its rule found: a hint, or what the resource answers in its metadata."""
    if error.rule is None:
        return False
    config = resource.get("Metadata", {}).get("cfn-lint", {}).get("config", {})
    return error.rule.severity == "informational" or error.rule.id in config.get("ignore_checks", ())


def _likeness(resource: Any, resources: dict[str, Any]) -> bytes:
    text = json.dumps(resource, sort_keys=True)
    # Logical ids are letters and digits, and are named as texts of their own or inside of Fn::Sub.
    types = {word: resources[word]["Type"] for word in re.findall("[A-Za-z0-9]+", text) if word in resources}
    return hashlib.sha256(json.dumps([text, types], sort_keys=True).encode()).digest()
