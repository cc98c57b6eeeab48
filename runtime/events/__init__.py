"""The events that AWS Lambda and AWS Batch pass to the runner.

reading.py      events of all kinds to invocations
invocation.py   one thing to run
http_events.py  requests of API Gateway, and their answers
http_async.py   requests that are answered before they are done
unsupported.py  events that are rejected
"""
