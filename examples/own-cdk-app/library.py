"""A CDK app with its own resources and two workflows in one stack."""

from __future__ import annotations

from aws_cdk import App, Duration, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from scar_constructs import ScarWorkflow

UPLOAD = """
import os
import boto3

def handler(event, context):
    s3, body = boto3.client("s3"), event["text"].encode()
    s3.put_object(Bucket=os.environ["TEXTS"], Key=f"texts/{event['name']}", Body=body)
    s3.put_object(Bucket=os.environ["FILES"], Key=f"files/{event['name']}", Body=body)
"""


class Library(Stack):
    """A function of this app uploads texts. One workflow counts their words, the other computes checksums."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        mirrors = self.node.try_get_context("registry_mirrors")
        words = ScarWorkflow(
            self, "Words", fdl="workflows/words.yaml", destroy_buckets=True, registry_mirrors=mirrors
        )
        checksums = ScarWorkflow(
            self,
            "Checksums",
            fdl="workflows/checksums.yaml",
            stage="library",
            destroy_buckets=True,
            registry_mirrors=mirrors,
        )
        uploader = lambda_.Function(
            self,
            "Uploader",
            function_name="library-upload",
            runtime=lambda_.Runtime.PYTHON_3_13,
            handler="index.handler",
            code=lambda_.Code.from_inline(UPLOAD),
            timeout=Duration.seconds(30),
            environment={
                "TEXTS": words.buckets["library-texts"].bucket_name,
                "FILES": checksums.buckets["library-files"].bucket_name,
            },
        )
        words.grant_put_inputs(uploader)
        checksums.grant_put_inputs(uploader)
        failed = words.failure_queues["count-words-of-library"]
        failed.metric_approximate_number_of_messages_visible().create_alarm(
            self, "FailedTexts", threshold=1, evaluation_periods=1
        )


app = App()
Library(app, "library")
app.synth()
