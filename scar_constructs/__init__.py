"""From a `Workflow` to a CloudFormation template.

The way through this room, in the order in which the data passes it:

1. `deployment` reads what the deployer said with `-c KEY=VALUE` and gives every bucket of the workflow its
   real name.
2. `workflow_stack` is the whole: one stack a workflow. It makes
3. the buckets with their folders (`buckets`, `bucket_folders`),
4. the runner's shared layer (`runner_asset`),
5. and for each function a `container_function`: its package (`function_asset`), its rights (`data_access`),
   its failure queue (`failure_queue`), in mode `batch` its Batch queue (`batch_queue`, in the `network`);
6. `notifications` connects folders with the functions that they trigger.

Every construct takes typed properties and can be used alone in another CDK app. Nothing here calls AWS, and
nothing here imports the runner: its files are only copied into the layer. `batch_bootstrap` and
`bucket_folders_handler/` are not imported either: they are the texts of programs that run in the cloud.

This file imports nothing, so that `interpreter` can be loaded by a Python that has no CDK.
"""
