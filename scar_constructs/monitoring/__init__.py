"""The CloudWatch dashboard of a workflow, and its alarms.

    measured.py     what is known of a function, and the metrics of AWS and of the runner about it
    alarms.py       which alarms there are, with their thresholds
    compute_prices.py  what the time of a function costs
    dashboard.py    the body of the dashboard
    resources.py    both as resources of a stack, and the topic that alarms notify

Only `resources.py` uses the CDK. It uses the resource types of the CDK itself: `cdk-monitoring-constructs`
has no AWS Batch, creates one alarm for each metric, and takes a second longer to load.
"""
