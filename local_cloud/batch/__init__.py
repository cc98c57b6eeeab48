"""AWS Batch on the embedded cloud.

api.py         its API
records.py     records of jobs
properties.py  container properties, with overrides
nodes.py       records of the nodes of multi-node jobs
jobs.py        runs jobs
retries.py     retry strategies
attempt.py     one attempt of a job
images.py      the container of a job
volumes.py     its file systems
logs.py        the output of a job
stack.py       its resources in CloudFormation
errors.py      the error that its API answers with
"""
