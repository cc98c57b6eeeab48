"""Amazon DynamoDB on the embedded cloud.

items.py  items of tables, in the database
stack.py  CloudFormation: time to live, deletion protection, tables that exist
"""
