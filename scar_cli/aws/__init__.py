"""Access to AWS.

session.py         boto3 clients, and explanations of boto3's errors
deployed.py        deployed functions, read from the outputs of stacks
logs.py            log lines of functions
jobs.py            jobs of AWS Batch of a function, counted by state
failure_queues.py  messages in failure queues, and their events
kept_queues.py     failure queues that no stack contains any longer
new_failures.py    failures that keep files from appearing, for `scar get --watch`
invoking.py        many calls of Lambda's Invoke over persistent connections
signing.py         Signature Version 4 for many calls of one service
transfers.py       uploads to S3 and downloads from it
"""
