"""The embedded cloud: an AWS emulator on loopback whose Batch really runs its jobs.

    cloud.py           what everybody uses: start, stop and reset a cloud, and the environment to use it
    supervisor.py      the process that holds a running cloud together, and outlives its emulator to clean up
    emulator.py        the emulator's process: ministack with everything below in it
    batch.py           AWS Batch's API, on records of batch_records.py
    batch_jobs.py      runs the jobs: each attempt in batch_attempt.py, its output to batch_logs.py
    batch_images.py    what a job's container is
    batch_stack.py     `AWS::Batch::*` in CloudFormation
    ecr/               ECR with a registry that stores what is pushed
    image_functions.py Lambda functions that are images, in environments of image_workers.py
    containers.py      starts the containers of both: processes of container_host.py
    events.py          asynchronous invocations: a queue that waits where the emulator's own would lose events
    request_ids.py     one for all attempts of an event
    event_failures.py  what becomes of an event that failed for good
    lambda_workers.py  Lambda's processes: kept on a leash, and all that they log is theirs
    credentials.py     the developer's access key, random for each state folder
    gatekeeper.py      in front of everything: own Host, no web pages of others, a valid signature
    signatures.py      Signature Version 4, verified; signed_chunks.py and upload_forms.py for uploads to S3
    routes.py          which of the emulator's routes are open
    callers.py         who asks, as the emulator sees it; credentials of roles
    roles.py           what a role's request asks for, read so that it cannot mean two things
    iam.py             policies are enforced as on AWS, where the emulator's view of requests is not AWS's
    s3_reads.py        parts of large objects, read without the whole
    s3_filters.py      filters of bucket notifications, which are URL-encoded
    distributed_maps.py  of Step Functions: buckets are listed, batches made, events sent
    topics.py          topics of SNS in other accounts, filters that look into notifications
    secrets_stack.py   CloudFormation refers to secrets by their ARNs
    s3_stack.py        CloudFormation deletes no bucket that holds something
    custom_resources.py of CloudFormation: a function that dies is invoked again
    change_sets.py     CloudFormation's stacks bear their templates' descriptions
    store.py           the database of what must not be lost, and the one lock around it
    saving.py          snapshots of the services in the database, and loading them
    queue_messages.py  messages of SQS in the database, one by one
    log_events.py      lines of CloudWatch Logs in the database
    running_logs.py    what running invocations have logged so far
    answers.py         a request is answered when all that it has caused is on disk
    s3_writes.py       objects are written whole, or not at all
    stopping.py        what runs may end, or is put back, when the cloud is told to stop
    disk_space.py      an upload that the disk has no room for is refused
    bootstrap.py       what `cdk bootstrap` would make
    privacy.py         what closes the state folder to other users of the machine
    leash.py           how a process and all that it started end when its owner does

This package knows nothing about FDL. It imports the standard library, ministack in the emulator's process
alone, so that the command line loads quickly, and the runner's images and engines in container_host.py alone.
"""
