"""The Function Definition Language (FDL): from the text of a file to a validated `Workflow`.

Public API:

    load.py          `load_workflow(path)` returns a `Workflow` or raises `FdlError`; `check(path)` returns
                     the workflow and all diagnostics
    model.py         the frozen objects of a workflow
    graph.py         which function triggers which, and loops
    names.py         naming rules: buckets, images, environment variables
    stages.py        names in a stage, such as `thumbnails-dev`
    places.py        where a file mentions a bucket
    fargate.py       the job sizes that Fargate offers
    instances.py     EC2 instance types: architecture, GPU, defaults
    prices/          prices of AWS
    payload.py       which files of `extra_payload` are packaged
    diagnostics/     the problems of a file: where, what was expected, what to do
    diagram/         a workflow as a diagram: DOT and Mermaid
    fdl.schema.json  the JSON Schema of the language, also for editors

Internal (an import rule in pyproject.toml enforces this):

    reading/         from text to plain data, checked against the schema
    build.py         from plain data to the model, with all defaults
    rules/           rules that a schema cannot express: names, files, limits of AWS
    components.py    strongly connected components of a graph
    docs/            generates docs/fdl.md and the pages of the documentation site about diagnostics

This package does not load the CDK or the AWS SDK, and does not use the network.
"""
