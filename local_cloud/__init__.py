"""The embedded cloud: an AWS emulator on loopback that runs functions and jobs in containers.

    cloud.py           start, stop and reset a cloud; the environment to use it
    supervisor.py      the main process of a running cloud
    emulator.py        the emulator's process: ministack with all extensions
    leash.py           ends a process and everything that it started when its owner ends
    patches.py         replaces functions of the emulator
    asgi.py            its requests and answers
    access/            who may send requests
    iam/               AWS IAM: what roles may do
    state/             what is stored on disk, and when
    containers/        the containers of image functions and Batch jobs
    lambda_functions/  AWS Lambda
    batch/             AWS Batch
    ecr/               Amazon ECR
    s3/                Amazon S3
    cloudformation/    AWS CloudFormation
    logs/              Amazon CloudWatch Logs
    metrics/           Amazon CloudWatch metrics, alarms and dashboards
    messages/          Amazon SQS, SNS and EventBridge
    dynamodb/          Amazon DynamoDB
    step_functions/    AWS Step Functions

Public API: `cloud.py` (`Cloud`, `CloudError`, `Running`).

The package does not depend on FDL. Only the emulator's process imports ministack, so that the command line
starts quickly, and only `containers/host.py` imports engines and images.
"""
