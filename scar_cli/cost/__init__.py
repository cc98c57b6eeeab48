"""What runs cost: before a deployment, while nothing runs, and after.

    items.py     quantities that AWS bills, and their price
    compute.py   what a run is billed for: a Lambda function, a job on Fargate or on EC2
    requests.py  requests to S3, queues, DynamoDB and logs for one file
    estimate.py  what a workflow would cost, and where each function could run
    idle.py      what a workflow costs while nothing runs
    runs.py      what runs have cost
    spent.py     the same for watching and for reports, as far as prices are known
    deployed.py  the sizes of deployed functions, as AWS describes them
    shown.py     estimates and bills, for people and for programs
    known.py     the table of prices, packaged or refreshed
    refresh.py   downloads AWS's public price list

The prices are in `fdl_schemas.prices`. Only `deployed` calls AWS, and `refresh` downloads
public files.
"""
