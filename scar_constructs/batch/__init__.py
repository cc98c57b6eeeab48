"""AWS Batch for the functions of a workflow.

jobs.py         job definition, roles and logs of one function's jobs
queues.py       compute environments and job queues, which functions of the same kind share
instances.py    instance profile and launch template of EC2 instances
network.py      the network of jobs, if the user sets no subnets
retries.py      when Batch tries a job again, and when it stops waiting for capacity
failures.py     which state changes are failures of a function's jobs
escalation.py   submits jobs that ran out of memory or time with the next size
volumes.py      EFS file systems in jobs
event_store.py  the bucket for events that are too long for a job's environment
"""
