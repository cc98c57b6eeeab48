"""Deployments: running the cdk, and showing the changes of a deployment.

cdk.py         the CDK CLI as a process, and the templates that it synthesizes
from_flags.py  a function described by options instead of an FDL file
given_queues.py the existing queues that an FDL file names
given_roles.py the permissions of the roles that an FDL file names
changes.py     the changes of a deployment, in words
losses.py      the data that is lost with a removed or replaced resource
comment.py     the changes as Markdown, for a comment on a pull request
template.py    templates as people read them
nested.py      the templates of nested stacks as one template
rights.py      the permissions that a template grants, one sentence each
"""
