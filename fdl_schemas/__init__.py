"""The Function Definition Language (FDL): from the text of a file to a validated `Workflow`.

Public API:

    load.py          `load_workflow(path)` gives a `Workflow` or raises `FdlError`; `check(path)` gives the
                     workflow and all diagnostics
    model.py         the frozen objects of a workflow
    graph.py         which function triggers which, and loops
    names.py         what owners of names allow: buckets, images, environment variables
    stages.py        names in a stage, such as `thumbnails-dev`
    payload.py       what is packaged of `extra_payload`
    diagnostics/     what is wrong with a file, where, and what to do
    diagram/         a workflow as a diagram: DOT and Mermaid
    fdl.schema.json  the JSON Schema of the language, also for editors

Internal (an import rule of pyproject.toml keeps other packages out):

    reading/         text to plain data, checked against the schema
    build.py         plain data to the model, with all defaults
    rules/           what a schema cannot express: names, files, limits of AWS
    fargate.py       the sizes of jobs that Fargate offers
    components.py    strongly connected components of a graph
    docs/            writes docs/fdl.md from the schema

Nothing here loads the CDK or the AWS SDK, or uses the network.
"""
