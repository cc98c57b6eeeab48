"""The network of Batch jobs whose owner names no subnets: it costs nothing while nothing runs."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from scar_constructs.findings import acknowledge


class BatchNetwork(Construct):
    """A VPC of public subnets, without NAT gateway, and a security group that lets nothing in.

    Jobs reach image registries through the internet gateway, with a public address of their own, and S3
    through a gateway endpoint. Both are free; a NAT gateway would cost every hour.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            max_azs=2,
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    # Jobs request their public address themselves. Nothing else in these subnets gets one.
                    name="Public",
                    subnet_type=ec2.SubnetType.PUBLIC,
                    map_public_ip_on_launch=False,
                )
            ],
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)
            },
            # The default group has no members and allows only its members. Emptying it would need another
            # custom resource, with rights on every security group of the account.
            restrict_default_security_group=False,
        )
        self.security_group = ec2.SecurityGroup(
            self,
            "JobSecurityGroup",
            vpc=self.vpc,
            description="Batch jobs: everything out, nothing in",
            allow_all_outbound=True,
        )
        acknowledge(
            self.vpc,
            "AwsSolutions-VPC7",
            "Only short-lived jobs run here, and nothing can connect to them. Flow logs are billed by "
            "volume, mostly for the data that the jobs process. To have them, use your own subnets.",
        )
