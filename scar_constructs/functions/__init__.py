"""The functions of a workflow.

function_asset.py      its package: `function_config.json`, the script, the extra payload
runner_asset.py        the runner, packaged once for all functions
compiled_libraries.py  the runner's compiled libraries for AWS Lambda
asset_code.py          an asset as the code of a function or layer
udocker_tools.py       udocker's tools in the runner layer, for pulled images
udocker_tarball.py     finds or downloads those tools
own_role.py            roles that contain their permissions
data_access.py         the permissions of functions and jobs
claims.py              the table of processed inputs, for functions with `once`
service_principal.py   services that assume roles
failure_queue.py       the queue of events that failed after all retries
network.py             VPC and EFS of a function
preheating.py          functions that are invoked once after their deployment
handler_function.py    the function behind a custom resource
provider_settings.py   settings of storage providers, public and secret
retention.py           log groups, and retention periods of CloudWatch Logs
"""
