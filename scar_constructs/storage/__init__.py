"""Buckets, what connects them with functions, and storage providers.

buckets.py         the buckets of a workflow
bucket_folders.py  their folders, created by a custom resource
notifications.py   which folder triggers which function: notifications of S3
event_rules.py     the same by EventBridge, where several functions read one folder
topics.py          functions that are triggered by an SNS topic
secret.py          the secret of storage providers
"""
