"""The runner: it runs the user's container once for each object of an event, and uploads the output files.

The same code runs in AWS Lambda, in AWS Batch jobs and on the embedded cloud. It is packaged on its own:

    __main__.py     the entry point of assembled images
    handler.py      the handler of AWS Lambda
    batch_job.py    the entry point of AWS Batch jobs
    config.py       what was deployed: `function_config.json`
    events/         events to invocations, which are to be run
    job.py          runs one invocation: stage in, run, stage out
    once.py         claims: each input is processed once (`once`)
    workspace.py    the folder of one invocation
    assembled.py    the image that the runner is part of
    command.py      what runs in the container
    environment.py  its environment variables
    reachable.py    what it can reach on the network
    outputs.py      its output files
    answer.py       its standard output, as the answer to a request
    ending.py       how a run ends
    memory.py       whether a run ran out of memory
    delegation.py   submits an invocation to AWS Batch
    storage/        downloads inputs and uploads outputs
    logs.py         log lines
    summary.py      fields of the summary line of a run
    trace.py        which run wrote the input of a run
    otlp.py         exports runs to an OpenTelemetry collector
    errors.py       errors that a person reads

boto3 is imported where it is first used, never at module level: every import makes a cold start slower.
"""
