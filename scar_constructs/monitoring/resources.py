"""Dashboards and alarms as resources, and the topic that alarms notify."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from aws_cdk import Aws, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from constructs import Construct

from scar_constructs.functions.data_access import allow
from scar_constructs.functions.own_role import OwnRole
from scar_constructs.functions.service_principal import service_principal
from scar_constructs.monitoring import alarms
from scar_constructs.monitoring.alarms import Alarm
from scar_constructs.monitoring.dashboard import body
from scar_constructs.monitoring.measured import Measured, Metric

_LONGEST_NAME = 200
"""Of a dashboard, without the region. AWS allows 255 characters."""


class AlarmTopic(Construct):
    """A topic that sends the notifications of the alarms of this account to an e-mail address.

    SNS encrypts what it stores with keys of its own. With the key `alias/aws/sns`, CloudWatch could not
    publish, because the policy of that key cannot be changed; a customer-managed key costs 1 USD a month, and
    an e-mail is not encrypted anyway.

    :param email: SNS sends a request for confirmation to it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, email: str) -> None:
        super().__init__(scope, construct_id)
        topic = sns.Topic(self, "Topic", enforce_ssl=True)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                principals=[
                    service_principal(
                        "cloudwatch.amazonaws.com",
                        source_arn=f"arn:{Aws.PARTITION}:cloudwatch:{Aws.REGION}:{Aws.ACCOUNT_ID}:alarm:*",
                    )
                ],
            )
        )
        sns.CfnSubscription(self, "Email", topic_arn=topic.topic_arn, protocol="email", endpoint=email)
        self.arn = topic.topic_arn


class StuckJobs(Construct):
    """Notifies a topic when a job at the head of a job queue cannot start.

    AWS Batch publishes no metric of such jobs, but an event
    (https://docs.aws.amazon.com/batch/latest/userguide/batch-job-queue-blocked-events.html).

    :param queues: ARNs of the job queues.
    :param topic_arn: the topic. The rule has a role, so that the policy of the topic need not allow
        EventBridge.
    """

    def __init__(self, scope: Construct, construct_id: str, *, queues: Sequence[str], topic_arn: str) -> None:
        super().__init__(scope, construct_id)
        role = OwnRole(
            self,
            "Role",
            assumed_by=service_principal("events.amazonaws.com"),
            description="Notifies the topic of alarms of jobs that cannot start",
        )
        allow(role, ["sns:Publish"], [topic_arn])
        text = (
            "A job in AWS Batch cannot start, and blocks the jobs behind it. Reason: <reason>. Job: <job>. "
            "Queue: <queue>. It is canceled after 10 minutes if no resources are large enough, or after 4 "
            "hours without capacity."
        )
        events.CfnRule(
            self,
            "Rule",
            description="Notifies the topic of alarms of jobs that cannot start",
            event_pattern=stuck_jobs(queues),
            targets=[
                events.CfnRule.TargetProperty(
                    id="Topic",
                    arn=topic_arn,
                    role_arn=role.role_arn,
                    input_transformer=events.CfnRule.InputTransformerProperty(
                        input_paths_map={
                            "reason": "$.detail.statusReason",
                            "job": "$.detail.jobName",
                            "queue": "$.detail.jobQueue",
                        },
                        input_template=json.dumps(text),
                    ),
                )
            ],
        )


def stuck_jobs(queues: Sequence[str]) -> Mapping[str, object]:
    """The pattern of events of jobs that cannot start, in these queues."""
    return {
        "source": ["aws.batch"],
        "detail-type": ["Batch Job Queue Blocked"],
        "detail": {"jobQueue": list(dict.fromkeys(queues))},
    }


class FunctionsMonitoring(Construct):
    """Alarms and dashboard of the functions of a stack.

    :param functions: each with its construct, the parent of its own alarm.
    :param title: of the dashboard, in Markdown; None: there is none.
    :param priced_region: whose prices the functions contain.
    :param topic_arn: is notified of alarms; None: there are none.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        functions: Sequence[tuple[Measured, Construct]],
        title: str | None,
        priced_region: str,
        topic_arn: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        measured = [one for one, _ in functions]
        made: list[cloudwatch.CfnAlarm] = []
        if topic_arn is not None:
            made += [
                _alarm(parent, alarms.failures(one), topic_arn, name=f"scar-failures-{one.name}")
                for one, parent in functions
            ]
            made += [_alarm(self, one, topic_arn) for one in alarms.shared(measured)]
        if title is not None:
            content = body(
                title,
                measured,
                region=Aws.REGION,
                priced_region=priced_region,
                alarms=[one.attr_arn for one in made],
            )
            # Names of dashboards are unique in an account, not in a region.
            name = re.sub("[^A-Za-z0-9_-]+", "-", scope.node.path)[:_LONGEST_NAME]
            cloudwatch.CfnDashboard(
                self,
                "Dashboard",
                dashboard_name=f"{name}-{Aws.REGION}",
                dashboard_body=Stack.of(self).to_json_string(content),
            )


def _alarm(scope: Construct, alarm: Alarm, topic_arn: str, name: str | None = None) -> cloudwatch.CfnAlarm:
    return cloudwatch.CfnAlarm(
        scope,
        alarm.identity,
        alarm_name=name,
        alarm_description=alarm.description,
        alarm_actions=[topic_arn],
        comparison_operator="GreaterThanOrEqualToThreshold",
        evaluation_periods=alarm.periods,
        threshold=alarm.threshold,
        treat_missing_data="notBreaching",
        **(_of_a_metric(alarm) if alarm.expression is None else {"metrics": _queries(alarm)}),
    )


def _of_a_metric(alarm: Alarm) -> dict[str, object]:
    (metric,) = alarm.metrics
    return {
        "namespace": metric.namespace,
        "metric_name": metric.name,
        "dimensions": _dimensions(metric),
        "statistic": metric.statistic,
        "period": alarm.period_s,
    }


def _queries(alarm: Alarm) -> list[cloudwatch.CfnAlarm.MetricDataQueryProperty]:
    properties = cloudwatch.CfnAlarm
    result = properties.MetricDataQueryProperty(id="result", expression=alarm.expression, return_data=True)
    return [
        result,
        *(
            properties.MetricDataQueryProperty(
                id=f"m{index}",
                metric_stat=properties.MetricStatProperty(
                    metric=properties.MetricProperty(
                        namespace=metric.namespace, metric_name=metric.name, dimensions=_dimensions(metric)
                    ),
                    period=alarm.period_s,
                    stat=metric.statistic,
                ),
                return_data=False,
            )
            for index, metric in enumerate(alarm.metrics)
        ),
    ]


def _dimensions(metric: Metric) -> list[cloudwatch.CfnAlarm.DimensionProperty]:
    return [
        cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value) for name, value in metric.dimensions
    ]
