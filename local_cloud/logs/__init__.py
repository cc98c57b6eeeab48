"""Amazon CloudWatch Logs on the embedded cloud.

events.py            lines in the database
running.py           lines of invocations, as they are written
embedded_metrics.py  metrics in lines
patterns.py          filter patterns, which select lines
"""
