"""AWS as the commands use it.

session.py    boto3 clients, and explanations of boto3's errors
deployed.py   deployed functions, read from the outputs of stacks
logs.py       log lines of functions
failure_queues.py  messages of failure queues, and their events
invoking.py   many calls of Lambda's Invoke over connections that are kept open
signing.py    Signature Version 4 for many calls of one service
transfers.py  uploads to S3 and downloads from it
"""
