"""Programs and libraries that pip does not install with the package: fetched once, at locked versions.

    node.py              Node, which runs the CDK
    node_packages.py     the CDK CLI, and Graphviz (`package-lock.json`)
    runner_libraries.py  compiled libraries for AWS Lambda's Python (`requirements-runner.txt`)
    downloads.py         the folder of what was fetched
    errors.py            the error when something cannot be fetched
    cdk.py               the command `cdk`

`python -m toolchain` fetches everything now; otherwise each part is fetched when it is first needed.
"""
