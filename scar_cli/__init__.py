"""The `scar` and `scar-launch` commands, on AWS and on the embedded cloud alike.

    main.py       the entry point: loads the module of one verb, turns errors into messages and exit codes
    errors.py     errors that a person reads
    table.py      text for a terminal
    progress.py   progress on a terminal
    files.py      files that the user names
    examples.py   the examples at the end of a verb's help
    node.py       the Node of this environment
    commands/     one module for each verb, and `scar-launch`
    launch/       sending one event for each file that exists already, and waiting for the results
    deployment/   the cdk command line, and what a deployment changes
    drawing/      diagrams as SVG and PNG
    aws/          boto3 clients, deployed functions, transfers to and from S3

A verb is loaded when it is used, so that `scar --help` answers at once.
"""
