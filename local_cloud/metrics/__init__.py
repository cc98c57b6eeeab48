"""Amazon CloudWatch metrics, alarms and dashboards on the embedded cloud.

data_points.py  stores metrics by the minute, as CloudWatch does
published.py    the metrics that AWS Lambda and Amazon SQS publish
expressions.py  metric math
queries.py      GetMetricData, also with expressions
alarms.py       evaluates alarms, also those with expressions, and notifies topics
"""
