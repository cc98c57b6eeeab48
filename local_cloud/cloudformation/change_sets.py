"""A stack that a change set has created gets its template's description, which ministack leaves out.

`cdk deploy` creates all of its stacks so, and commands read from the description which file a stack is from.
"""

from __future__ import annotations

from typing import Any

from ministack.services.cloudformation import _stacks, changesets, handlers

_OK = 200


def install() -> None:
    """Put ourselves behind what ministack does."""
    execute = handlers._ACTION_HANDLERS["ExecuteChangeSet"]

    def execute_change_set(params: dict[str, Any]) -> Any:
        name, stack_name = changesets._p(params, "ChangeSetName"), changesets._p(params, "StackName")
        _identity, change_set = changesets._find_change_set(name, stack_name)
        answer = execute(params)
        if change_set is not None and answer[0] == _OK:
            description = change_set["_template"].get("Description", "")
            _stacks[change_set["StackName"]]["Description"] = description
        return answer

    handlers._ACTION_HANDLERS["ExecuteChangeSet"] = execute_change_set
