"""The stack of a workflow that contains what all of its functions share."""

from __future__ import annotations

from aws_cdk import Stack
from constructs import IConstruct


def main_stack(construct: IConstruct) -> Stack:
    """The stack that a construct is in, or, if that is nested, the outermost one."""
    stack = Stack.of(construct)
    while stack.nested_stack_parent is not None:
        stack = stack.nested_stack_parent
    return stack
