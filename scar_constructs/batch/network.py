"""The network of Batch jobs, if the user sets no subnets. It costs nothing while no job runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from aws_cdk import Stack, Tags
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from scar_constructs.findings import acknowledge


class JobNetwork(Construct):
    """The subnets of a VPC, and a security group that allows no incoming connections.

    :param vpc: an existing VPC; its private subnets are used, if it has any. None: a VPC with public subnets
        and without NAT gateway is created. Jobs then reach image registries through the internet gateway,
        with a public address of their own, and S3 through a gateway endpoint. Both are free; a NAT gateway
        would cost every hour.
    """

    def __init__(self, scope: Construct, construct_id: str, *, vpc: ec2.IVpc | None = None) -> None:
        super().__init__(scope, construct_id)
        self._vpc: ec2.IVpc = _created_vpc(self) if vpc is None else vpc
        self._new_subnets = self._vpc.public_subnets if vpc is None else []
        private, public = self._vpc.private_subnets, self._vpc.public_subnets
        subnets = private or public or self._vpc.isolated_subnets
        self.subnet_ids: Sequence[str] = [subnet.subnet_id for subnet in subnets]
        self.assign_public_ip = not private and bool(public)
        """Whether jobs on Fargate need a public address."""
        self._groups: dict[bool, ec2.SecurityGroup] = {}

    @classmethod
    def of(cls, scope: Construct, vpc: ec2.IVpc | None = None) -> Self:
        """The network of the stack in a VPC; the first call creates it."""
        stack = Stack.of(scope)
        name = "ScarNetwork" if vpc is None else f"ScarNetwork-{vpc.node.addr[-8:]}"
        found = stack.node.try_find_child(name)
        if isinstance(found, cls):
            return found
        network = cls(stack, name, vpc=vpc)
        Tags.of(network).add("createdby", "scar")
        return network

    def security_group_id(self, *, several_nodes: bool = False) -> str:
        """The security group of jobs: no connections in, except from the other nodes of a job."""
        if several_nodes not in self._groups:
            group = ec2.SecurityGroup(
                self,
                "NodeSecurityGroup" if several_nodes else "JobSecurityGroup",
                vpc=self._vpc,
                description="Batch jobs: everything out, nothing in"
                + (" but from other nodes" if several_nodes else ""),
                allow_all_outbound=True,
            )
            if several_nodes:
                group.add_ingress_rule(group, ec2.Port.all_traffic(), "Other nodes")
            self._groups[several_nodes] = group
        return self._groups[several_nodes].security_group_id

    def allow_instances(self) -> None:
        """Let EC2 instances pull images.

        A job on Fargate requests its public address itself. An instance only gets one from its subnet.
        """
        for subnet in self._new_subnets:
            resource = subnet.node.default_child
            if isinstance(resource, ec2.CfnSubnet):
                resource.map_public_ip_on_launch = True


def _created_vpc(scope: Construct) -> ec2.Vpc:
    vpc = ec2.Vpc(
        scope,
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
        gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        # The default group has no members and allows only its members. Emptying it would need another
        # custom resource, with rights on every security group of the account.
        restrict_default_security_group=False,
    )
    acknowledge(
        vpc,
        "AwsSolutions-VPC7",
        "Only short-lived jobs run here, and nothing can connect to them. Flow logs are billed by "
        "volume, mostly for the data that the jobs process. To have them, use your own subnets.",
    )
    return vpc
