"""From a `Workflow` to a CloudFormation template.

The modules, in the order in which the data passes them:

1. `deployment` reads what the deployer said with `-c KEY=VALUE` and gives every bucket of the workflow its
   real name; `storage_settings` sorts the settings of storage providers into public and secret ones.
2. `regions` cuts the workflow into one part for each region, if its functions name several.
3. `workflow_stack` is the whole: one stack a part. It makes
4. the buckets with their folders (`buckets`, `bucket_folders`),
5. the runner's shared layer (`runner_asset`), and the secret of storage providers (`storage_secret`),
6. and for each function a `container_function`: its package (`function_asset`, `image_file`), its rights
   (`data_access`), its failure queue (`failure_queue`), and what it asks for: a Batch queue (`batch_queue`,
   in the `network`), a VPC and file systems (`function_network`), an `http_endpoint`, `preheating`;
7. `notifications` connects folders with the functions that they trigger; where S3's notifications cannot,
   `event_rules` does; `topics` connects functions with what others publish.

`images` assembles the images of functions and Batch jobs; `event_store` keeps events that are too long for a
job's environment.

Every construct takes typed properties and can be used alone in another CDK app. Nothing here calls AWS or
imports the runner: its files are only copied into the layer. The folders `*_handler/` are not imported
either: they contain the programs behind custom resources (`handler_function`).

This file imports nothing, so that `interpreter` can be loaded by a Python that has no CDK.
"""
