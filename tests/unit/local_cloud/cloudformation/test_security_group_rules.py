"""A rule of a security group can be a resource of its own."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os; os.environ["GATEWAY_PORT"] = "4566"
from ministack.services import ec2
from ministack.services.cloudformation import provisioners
from local_cloud.cloudformation import security_group_rules
security_group_rules.install()
group, _ = provisioners._RESOURCE_HANDLERS["AWS::EC2::SecurityGroup"]["create"]("Group", {}, "stack")
handlers = provisioners._RESOURCE_HANDLERS["AWS::EC2::SecurityGroupIngress"]
rule = {"GroupId": group, "IpProtocol": "-1", "SourceSecurityGroupId": group}
created, _ = handlers["create"]("Rule", rule, "stack")
assert created.startswith("sgr-"), created
(found,) = ec2._security_groups[group]["IpPermissions"]
assert (found["IpProtocol"], found["UserIdGroupPairs"]) == ("-1", [{"GroupId": group}]), found
handlers["delete"](created, rule)
handlers["delete"](created, rule)
assert ec2._security_groups[group]["IpPermissions"] == []
try:
    handlers["create"]("Rule", {**rule, "GroupId": "sg-0"}, "stack")
except ValueError as error:
    assert str(error) == "The security group 'sg-0' does not exist"
else:
    raise AssertionError("a rule of a group that does not exist")
"""


def test_a_group_can_allow_its_own_members() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
