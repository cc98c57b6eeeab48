"""AWS IAM on the embedded cloud.

policies.py  policies of roles are enforced on every request
"""
