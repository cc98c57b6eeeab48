"""From a `Workflow` to a CloudFormation template.

    workflow_stack.py   the stack of one workflow in one region
    deployment.py       what the deployer decides with `-c KEY=VALUE`
    container_function.py  a function that runs the user's container in AWS Lambda, or delegates to AWS Batch
    regions.py          which functions belong to which region
    construct_names.py  ids of constructs made from users' names
    findings.py         findings of cdk-nag that are accepted, with reasons
    app.py              the CDK app
    interpreter.py      finds a Python with the CDK
    functions/          a function: package, runner layer, rights, network
    images/             images assembled at deployment
    batch/              AWS Batch for a function
    storage/            buckets, folders, notifications, settings of storage providers
    endpoints/          HTTP endpoints
    launch/             the state machines behind `scar-launch --distributed`
    handlers/           the programs behind custom resources; never imported

Public API: what `app.py` uses (`workflow_stack.add_stacks`, `deployment`, `interpreter`,
`functions.provider_settings.with_environment_values`, `functions.udocker_tarball.find_udocker_tools`), and
the constructs. No other package of this repository imports this one.

Every construct takes typed properties and can be used alone in another CDK app. Nothing here calls AWS or
imports the runner: its files are only copied into assets.

This file imports nothing, so that `interpreter` can be loaded by a Python without the CDK.
"""
