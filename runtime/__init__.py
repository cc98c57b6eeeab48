"""The runner: one event in; one run of the user's container for each of its objects; the output files that it
leaves are uploaded.

The same code runs in AWS Lambda, in an AWS Batch job and on the embedded cloud, and it is packaged alone:

    __main__.py     the entry point of assembled images
    handler.py      the handler of AWS Lambda
    batch_job.py    the entry point of AWS Batch jobs
    config.py       what was deployed: `function_config.json`
    events/         events to invocations, which are to be run
    job.py          runs one invocation: stage in, run, stage out
    workspace.py    the folder of one invocation
    assembled.py    the image that the runner is part of
    command.py      what runs in the container
    environment.py  its environment variables
    reachable.py    what it may reach by network
    outputs.py      its output files
    answer.py       its standard output, as the answer to a request
    ending.py       how a run ends
    delegation.py   hands an invocation over to AWS Batch
    storage/        where inputs come from and outputs go to
    logs.py         log lines and summaries
    errors.py       errors that a person reads

boto3 is imported where it is first used, never at the top: users pay for every import of a cold start.
"""
