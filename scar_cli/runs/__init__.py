"""Runs of functions, from the log lines in which the runner and Lambda sum them up.

model.py       one run
assembling.py  log lines to runs
reading.py     the runs of deployed functions: from CloudWatch Logs, and from AWS Batch where a log is missing
reasons.py     why runs failed, without the file that they failed for
folders.py     folders of inputs and outputs
histogram.py   distribution of durations and sizes, in bounded memory
timeline.py    runs in each stage over time, in bounded memory
store.py       all runs, in a temporary file
summary.py     the numbers of all runs
"""
