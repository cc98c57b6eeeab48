"""AWS Lambda on the embedded cloud.

image_functions.py  functions that are container images
image_workers.py    their execution environments
zip_workers.py      worker processes of zip functions
events.py           the queue of asynchronous invocations
queue_sources.py    SQS queues as event sources
destinations.py     which destinations of events a function's role permits
loops.py            recursive loops
stack.py            properties of functions in stacks
event_failures.py   events that failed for good
request_ids.py      request ids
"""
