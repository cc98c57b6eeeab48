"""AWS CloudFormation on the embedded cloud.

bootstrap.py             the resources that `cdk bootstrap` creates
change_sets.py           descriptions of stacks
custom_resources.py      custom resources whose function ends without an answer
nested_stacks.py         stacks as resources of stacks
operations.py            responses at the end of a change of a stack
secrets.py               references to secrets
security_group_rules.py  rules of security groups that are resources of their own
"""
