"""Amazon SQS, SNS and EventBridge on the embedded cloud.

queues.py           queues whose messages are in the database
queued_messages.py  the messages of one queue
move_tasks.py       dead-letter queue redrive
rule_targets.py     queues as targets of EventBridge rules
chains.py           the invocations that have led to a message
topics.py           topics of other accounts, and filters
"""
