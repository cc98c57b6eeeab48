"""Watch the running workflow from outside, as anyone with an AWS account can.

workflow.py requests the progress from AWS, live_view.py displays it, and figures.py reads durations from the
logs.
"""
