"""A role whose permissions are part of it, so that it is one resource of the stack and not two."""

from __future__ import annotations

import json

from aws_cdk import aws_iam as iam
from constructs import Construct

_ROOM = 9_000
"""Characters for statements. AWS IAM allows 10,240 for all inline policies of a role, also those of users."""
_OF_A_TOKEN = 70
"""Characters that a token, such as an ARN, has at deployment, beyond those that it has here."""


class OwnRole(iam.Role):
    """A role with an inline policy for the statements of this package.

    Statements that others add (`grant_…` of the CDK), and those for which the role has no room, are in
    policies that the CDK creates and splits.

    :param assumed_by: who may assume it.
    :param description: what it is for.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, assumed_by: iam.IPrincipal, description: str
    ) -> None:
        self._rights = iam.PolicyDocument()
        self._room = _ROOM
        super().__init__(
            scope,
            construct_id,
            assumed_by=assumed_by,
            description=description,
            inline_policies={"Rights": self._rights},
        )

    def allow(self, statement: iam.PolicyStatement) -> None:
        """Add a statement."""
        text = json.dumps(statement.to_statement_json())
        size = len(text) + _OF_A_TOKEN * text.count("${Token[")
        if size > self._room:
            self.add_to_principal_policy(statement)
            return
        self._room -= size
        self._rights.add_statements(statement)
