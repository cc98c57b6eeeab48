"""Rules that a schema cannot express, one module for each subject.

rules.py              runs all rules; functions and the file as a whole
archives.py           archives of images
batch.py              AWS Batch
comments.py           comments that are meant as text
environment.py        environment variables
files.py              files that the FDL file names
images.py             image functions on AWS Lambda
marks.py              text that the CDK or CloudFormation replaces
patterns.py           `*` in names
queues.py             queues of inputs, and warnings for inputs that may need one
regions.py            regions
storage.py            paths, buckets and storage providers
tags.py               tags
without_meaning.py    keys without an effect
"""
