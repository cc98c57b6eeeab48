"""Amazon CloudWatch Logs on the embedded cloud.

events.py   lines in the database
running.py  what running invocations have logged so far
"""
