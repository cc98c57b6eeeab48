"""The templates of a stack and of its nested stacks as one template.

Whoever looks at a workflow sees its functions, and not the nested stacks that they are in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scar_cli.aws.deployed import NESTED_STACK

_PATH = "aws:cdk:path"
_OUTPUT = "Outputs."


def flattened(
    template: Mapping[str, Any], nested: Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None]
) -> Mapping[str, Any]:
    """A template in which each nested stack is replaced by its resources.

    Their logical ids are `STACK/ID`, where STACK is the logical id of the nested stack. References between
    stacks, which are parameters and outputs, become references to the resources. Paths of resources do not
    contain the nested stack.

    Args:
        template: of the outer stack.
        nested: gives the template of a nested stack, by its logical id and its resource; None: unknown.
    """
    stack = _Stack(template, nested)
    return {**template, "Resources": stack.resources()} if stack.nested else template


class _Stack:
    """A stack, in terms of the outermost one."""

    def __init__(
        self,
        template: Mapping[str, Any],
        nested: Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None],
        *,
        prefix: str = "",
        parent: _Stack | None = None,
        parameters: Mapping[str, Any] | None = None,
        path: str = "",
    ) -> None:
        self._template = template
        self._prefix = prefix
        self._parent = parent
        self._parameters = parameters or {}
        self._path = path
        self._resources: Mapping[str, Any] = template.get("Resources") or {}
        self.nested: dict[str, _Stack] = {}
        for identity, resource in self._resources.items():
            inner = nested(identity, resource) if resource.get("Type") == NESTED_STACK else None
            if inner is not None:
                self.nested[identity] = _Stack(
                    inner,
                    lambda _identity, _resource: None,
                    prefix=f"{prefix}{identity}/",
                    parent=self,
                    parameters=(resource.get("Properties") or {}).get("Parameters"),
                    path=_path_of(resource).rpartition("/")[0].removesuffix(".NestedStack"),
                )

    def resources(self) -> dict[str, Any]:
        """By logical id in the outermost stack."""
        found: dict[str, Any] = {}
        for identity, resource in self._resources.items():
            if identity in self.nested:
                found |= self.nested[identity].resources()
                continue
            seen = {key: self.value(value) for key, value in resource.items()}
            path = _path_of(resource)
            if self._path and path.startswith(f"{self._path}/"):
                outer = self._path.rpartition("/")[0]
                seen["Metadata"] = {**seen["Metadata"], _PATH: f"{outer}{path.removeprefix(self._path)}"}
            found[f"{self._prefix}{identity}"] = seen
        return found

    def value(self, value: Any) -> Any:
        """A value of the template with references to resources of the outermost stack."""
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref":
                return self._reference(str(argument))
            if function == "Fn::GetAtt" and (attribute := _attribute(argument)) is not None:
                return self._attribute(*attribute)
        return {key: self.value(one) for key, one in value.items()}

    def _reference(self, identity: str) -> Any:
        if self._parent is not None and identity in self._parameters:
            return self._parent.value(self._parameters[identity])
        return {"Ref": f"{self._prefix}{identity}" if identity in self._resources else identity}

    def _attribute(self, identity: str, attribute: str) -> Any:
        inner = self.nested.get(identity)
        if inner is not None and attribute.startswith(_OUTPUT):
            output = (inner._template.get("Outputs") or {}).get(attribute.removeprefix(_OUTPUT))
            if output is not None:
                return inner.value(output.get("Value"))
        return {"Fn::GetAtt": [f"{self._prefix}{identity}", attribute]}


def _attribute(argument: Any) -> tuple[str, str] | None:
    if isinstance(argument, str) and "." in argument:
        identity, _dot, attribute = argument.partition(".")
        return identity, attribute
    match argument:
        case [str(identity), str(attribute)]:
            return identity, attribute
    return None


def _path_of(resource: Mapping[str, Any]) -> str:
    return str((resource.get("Metadata") or {}).get(_PATH, ""))
