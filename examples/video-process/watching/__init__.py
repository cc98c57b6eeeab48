"""Watch the running workflow from outside, as anyone with an AWS account can.

workflow.py requests the progress from AWS, and live_view.py displays it.
"""
