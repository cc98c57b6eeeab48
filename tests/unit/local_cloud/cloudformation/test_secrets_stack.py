"""A secret of a stack is known by its ARN, as on AWS."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os; os.environ["GATEWAY_PORT"] = "4566"
from ministack.services import secretsmanager
from ministack.services.cloudformation import provisioners
from local_cloud.cloudformation import secrets as secrets_stack
secrets_stack.install()
handlers = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]
old, new = {"Description": "old"}, {"Description": "new"}
arn, attributes = handlers["create"]("Logical", old, "stack")
assert arn.startswith("arn:aws:secretsmanager:us-east-1:000000000000:secret:stack-Logical-"), arn
assert attributes["Id"] == arn
assert handlers["update"](arn, old, new, "stack", logical_id="Logical")[0] == arn
(secret,) = secretsmanager._secrets.values()
assert (secret["ARN"], secret["Description"]) == (arn, "new")
other, _ = handlers["update"](arn, new, {**new, "Name": "renamed"}, "stack", logical_id="Logical")
assert ":secret:renamed-" in other, other
handlers["delete"](arn, new)
handlers["delete"](other, new)
handlers["delete"](other, new)
assert not list(secretsmanager._secrets.values())
"""


def test_reference_to_a_secret_is_its_arn() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
