"""A CloudFormation template for people: resources with their names, `Ref` and similar functions as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_NAMES = ("BucketName", "FunctionName", "QueueName", "LogGroupName", "StateMachineName", "TopicName")
_BUCKET_ARN = re.compile(r"arn:(aws[a-z-]*|\$\{AWS::Partition\}):s3:::")
_PATH = "aws:cdk:path"
_OF_THE_FILE = ("Functions", "Buckets")
"""Constructs of a stack that the FDL file describes; all others are helpers."""
_SINGLETON = re.compile("(?<=[A-Za-z])[0-9a-f]{32}$")
"""Suffix that the CDK adds to the name of a singleton."""


class Names:
    """The resources of a template, and their names."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        self.resources: Mapping[str, Any] = template.get("Resources") or {}

    def of(self, identity: str) -> str:
        """The name of a resource if the template has one, else its path in the app, else its logical id."""
        resource = self.resources.get(identity)
        if resource is None:
            return f"${{{identity}}}"  # a parameter, or a pseudo parameter such as AWS::Region
        properties = resource.get("Properties") or {}
        for key in _NAMES:
            if isinstance(properties.get(key), str):
                return str(properties[key])
        path = str((resource.get("Metadata") or {}).get(_PATH, ""))
        _stack, _slash, below = path.removesuffix("/Resource").partition("/")
        return _SINGLETON.sub("", below) or identity

    def is_helper(self, identity: str) -> bool:
        """Whether scar-cdk adds a resource by itself, for any function or bucket."""
        resource = self.resources.get(identity) or {}
        properties = resource.get("Properties") or {}
        if any(isinstance(properties.get(key), str) for key in _NAMES):
            return False
        path = str((resource.get("Metadata") or {}).get(_PATH, "")).split("/")
        own = identity.rpartition("/")[2]  # without the nested stack
        return not own.startswith(_OF_THE_FILE) and not any(one in path for one in _OF_THE_FILE)

    def text(self, value: object) -> str:
        """A value of the template, on one line."""
        if isinstance(value, str):
            return _BUCKET_ARN.sub("", value)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, Mapping) and len(value) == 1:
            ((function, argument),) = value.items()
            called = self._called(str(function), argument)
            if called is not None:
                return _BUCKET_ARN.sub("", called)
        if isinstance(value, (Mapping, list)):
            return json.dumps(value, default=str)
        return str(value)

    def _called(self, function: str, argument: Any) -> str | None:
        if function == "Ref":
            return self.of(str(argument))
        if function == "Fn::GetAtt" and isinstance(argument, list):
            identity, attribute = str(argument[0]), str(argument[1])
            return self.of(identity) if attribute == "Arn" else f"{self.of(identity)}.{attribute}"
        if function == "Fn::Join" and isinstance(argument, list) and isinstance(argument[1], list):
            return str(argument[0]).join(self.text(part) for part in argument[1])
        if function == "Fn::Sub":
            return str(argument[0] if isinstance(argument, list) else argument)
        return None
