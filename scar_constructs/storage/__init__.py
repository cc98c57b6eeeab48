"""Buckets, what connects them with functions, and storage providers.

buckets.py         the buckets of a workflow
bucket_folders.py  their folders, created by a custom resource
notifications.py   S3 notifications: which folder triggers which function
event_rules.py     the same with EventBridge, if several functions read one folder
topics.py          functions that are triggered by an SNS topic
input_queue.py     queues in which new files wait for a function
secret.py          the secret of storage providers
"""
