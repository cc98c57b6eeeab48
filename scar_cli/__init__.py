"""The `scar` and `scar-launch` commands, for AWS and the embedded cloud.

    main.py         the entry point: loads the module of a command, turns errors into messages and exit codes
    options.py      options that several commands have in common
    completions.py  values that a shell completes options and arguments to
    errors.py       errors for people
    table.py        text for a terminal
    progress.py     progress on a terminal
    files.py        files that the user names
    scratch.py      temporary databases
    processes.py    work in other processes
    examples.py     the examples at the end of a command's help
    runs/           runs of functions, from their logs
    report/         the report of runs: document and page
    advice/         better sizes of functions, from their runs
    commands/       one module for each command, and `scar-launch`
    cost/           what runs cost
    launch/         one event for each existing file, and waiting for the results
    deployment/     the CDK CLI, and what a deployment changes
    watch/          a live view of a workflow
    drawing/        diagrams as SVG and PNG
    aws/            boto3 clients, deployed functions, logs, transfers to and from S3

A command is loaded when it is used, so that `scar --help` is fast.
"""
