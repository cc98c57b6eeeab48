"""The Function Definition Language (FDL): from the text of a file to a validated `Workflow`.

    load.py          the public API: `load_workflow(path)` gives a `Workflow` or raises `FdlError`,
                     `check(path)` gives the workflow and all diagnostics
    reading/         text to plain data, checked against the schema
    fdl.schema.json  the JSON Schema of the language, also for editors
    build.py         plain data to the model, with all defaults
    model.py         the frozen objects of a workflow
    rules/           what a schema cannot express: names, files, limits of AWS
    graph.py         which function triggers which, and loops
    fargate.py       the sizes of jobs that Fargate offers
    components.py    strongly connected components of a graph
    diagnostics/     what is wrong with a file, where, and what to do
    diagram/         a workflow as a diagram: DOT and Mermaid
    docs/            writes docs/fdl.md from the schema

Nothing here loads the CDK or the AWS SDK, or uses the network.
"""
