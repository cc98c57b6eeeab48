"""Amazon S3 on the embedded cloud: what the emulator does differently from AWS.

filters.py  filters of notifications
reads.py    parts of large objects
writes.py   objects are written whole, or not at all
stack.py    CloudFormation deletes no bucket that holds objects
"""
