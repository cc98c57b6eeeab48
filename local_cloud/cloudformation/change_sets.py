"""A stack that a change set has made bears its template's description, as on AWS.

ministack gives such a stack none, and `cdk deploy` makes all of its stacks so. Commands tell by it which file
a stack was made of.
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
