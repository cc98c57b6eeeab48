"""AWS Batch for the functions of a workflow.

queue.py        compute environment, job queue and job definition of one function
network.py      the network of jobs, if the user sets no subnets
event_store.py  the bucket for events that are too long for a job's environment
"""
