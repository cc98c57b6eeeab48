"""AWS Batch on the embedded cloud.

api.py      its API
records.py  records of jobs
jobs.py     runs jobs
attempt.py  one attempt of a job
images.py   the container of a job
logs.py     the output of a job
stack.py    its resources in CloudFormation
"""
