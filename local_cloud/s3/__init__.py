"""Amazon S3 on the embedded cloud: corrections of differences from AWS.

filters.py  filters of notifications
reads.py    parts of large objects
writes.py   objects are written completely, or not at all
stack.py    CloudFormation deletes no bucket that contains objects
"""
