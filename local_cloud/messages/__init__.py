"""Amazon SQS and SNS on the embedded cloud.

queues.py  messages of queues, in the database
topics.py  topics of other accounts, and filters
"""
