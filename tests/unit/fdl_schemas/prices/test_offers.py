"""AWS's offer files, read line by line.

The headers are those of AWS's files: of AWSLambda and similar services in January 2026, and of AmazonEC2 in
September 2025 (shortened) and March 2017. SKUs, rate codes, usage types, descriptions and prices are AWS's.
The three rows of 2017 are verbatim. There is no network here: no current file was read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from fdl_schemas.prices.offers import (
    Offer,
    OfferError,
    read_fargate_spot,
    read_offer,
    read_spot,
    url_of,
)
from fdl_schemas.prices.table import Instance, load

TOP = """"FormatVersion","v1.0"
"Disclaimer","This pricing list is for informational purposes only. All prices are subject to the additional \
terms included in the pricing pages on http://aws.amazon.com. All Free Tier prices are also subject to the \
terms included at https://aws.amazon.com/free/"
"Publication Date","2026-10-01T18:47:46Z"
"Version","20261001184746"
"OfferCode","{offer}"
"""
COLUMNS = (
    '"SKU","OfferTermCode","RateCode","TermType","PriceDescription","EffectiveDate","StartingRange",'
    '"EndingRange","Unit","PricePerUnit","Currency","Product Family","serviceCode","Location",'
    '"Location Type","Group","Group Description","usageType","operation","PlatoFeatureType","Region Code",'
    '"serviceName"\n'
)
EC2_COLUMNS = (
    '"SKU","OfferTermCode","RateCode","TermType","PriceDescription","EffectiveDate","StartingRange",'
    '"EndingRange","Unit","PricePerUnit","Currency","RelatedTo","LeaseContractLength","PurchaseOption",'
    '"OfferingClass","Product Family","serviceCode","Location","Location Type","Instance Type","vCPU",'
    '"Memory","Tenancy","Operating System","usageType","operation","CapacityStatus","GPU",'
    '"Pre Installed S/W","Region Code"\n'
)
OF_2017 = """"SKU","OfferTermCode","RateCode","TermType","PriceDescription","EffectiveDate","StartingRange","EndingRange","Unit","PricePerUnit","Currency","LeaseContractLength","PurchaseOption","OfferingClass","Product Family","serviceCode","Location","Location Type","Instance Type","Current Generation","Instance Family","vCPU","Physical Processor","Clock Speed","Memory","Storage","Network Performance","Processor Architecture","Storage Media","Volume Type","Max Volume Size","Max IOPS/volume","Max IOPS Burst Performance","Max throughput/volume","Provisioned","Tenancy","EBS Optimized","Operating System","License Model","Group","Group Description","Transfer Type","From Location","From Location Type","To Location","To Location Type","usageType","operation","Comments","Dedicated EBS Throughput","Enhanced Networking Supported","GPU","Instance Capacity - 10xlarge","Instance Capacity - 2xlarge","Instance Capacity - 4xlarge","Instance Capacity - 8xlarge","Instance Capacity - large","Instance Capacity - medium","Instance Capacity - xlarge","Intel AVX Available","Intel AVX2 Available","Intel Turbo Available","Physical Cores","Pre Installed S/W","Processor Features","Sockets"
"YQHNG5NBWUE3D67S","4NA7Y494T4","YQHNG5NBWUE3D67S.4NA7Y494T4.6YS6EN2CT7","Reserved","Red Hat Enterprise Linux (Amazon VPC), m4.xlarge instance-hours used this month","2016-11-30","0","Inf","Hrs","0.2230000000","USD","1yr","No Upfront","standard","Compute Instance","AmazonEC2","US East (Ohio)","AWS Region","m4.xlarge","Yes","General purpose","4","Intel Xeon E5-2676 v3 (Haswell)","2.4  GHz","16 GiB","EBS only","High","64-bit",,,,,,,,"Dedicated",,"RHEL","No License required",,,,,,,,"USE2-DedicatedUsage:m4.xlarge","RunInstances:0010",,"750 Mbps","Yes",,,,,,,,,,,,,"NA","Intel AVX; Intel AVX2; Intel Turbo",
"""  # noqa: E501
RESERVED_OF_2017 = """"6QB2UH376KYJD6MB","6QCMYABX3D","6QB2UH376KYJD6MB.6QCMYABX3D.6YS6EN2CT7","Reserved","USD 0.0 per Red Hat Enterprise Linux (Amazon VPC), t2.medium instance-hour (or partial hour)","2015-04-30","0","Inf","Hrs","0.0000000000","USD","1yr","All Upfront","standard","Compute Instance","AmazonEC2","Asia Pacific (Sydney)","AWS Region","t2.medium",,"General purpose","2","Intel Xeon Family","Up to 3.3 GHz","4 GiB","EBS only","Low to Moderate","32-bit or 64-bit",,,,,,,,"Shared",,"RHEL","No License required",,,,,,,,"APS2-BoxUsage:t2.medium","RunInstances:0010",,,,,,,,,,,,,,,"NA","Intel AVX; Intel Turbo",
"""  # noqa: E501


def row(sku: str, usage: str, usd: str, start: str = "0", description: str = "", **more: str) -> str:
    """A row of an offer file with the columns of `COLUMNS`."""
    cells = {
        "rate": f"{sku}.JRTCKXETXF.6YS6EN2CT7",
        "term": "OnDemand",
        "unit": "Requests",
        "operation": "",
        "location": "EU (Ireland)",
        "kind": "AWS Region",
        "region": "eu-west-1",
        "currency": "USD",
        "end": "Inf",
    } | more
    values = [
        sku,
        "JRTCKXETXF",
        cells["rate"],
        cells["term"],
        description,
        "2026-10-01",
        start,
        cells["end"],
        cells["unit"],
        usd,
        cells["currency"],
        "Serverless",
        "AWSLambda",
        cells["location"],
        cells["kind"],
        "",
        "",
        usage,
        cells["operation"],
        "",
        cells["region"],
        "AWS Lambda",
    ]
    return ",".join(f'"{value}"' if value else "" for value in values) + "\n"


def ec2(sku: str, usage: str, usd: str, **more: str) -> str:
    """A row with the columns of `EC2_COLUMNS`."""
    cells = {
        "term": "OnDemand",
        "type": "m6i.xlarge",
        "vcpu": "4",
        "memory": "16 GiB",
        "tenancy": "Shared",
        "os": "Linux",
        "operation": "RunInstances",
        "capacity": "Used",
        "gpu": "",
        "software": "NA",
        "region": "us-east-1",
        "kind": "AWS Region",
        "unit": "Hrs",
    } | more
    values = [
        sku,
        "JRTCKXETXF",
        f"{sku}.JRTCKXETXF.6YS6EN2CT7",
        cells["term"],
        f"${usd} per On Demand",
        "2026-09-01",
        "0",
        "Inf",
        cells["unit"],
        usd,
        "USD",
        "",
        "",
        "",
        "",
        "Compute Instance",
        "AmazonEC2",
        "US East (N. Virginia)",
        cells["kind"],
        cells["type"],
        cells["vcpu"],
        cells["memory"],
        cells["tenancy"],
        cells["os"],
        usage,
        cells["operation"],
        cells["capacity"],
        cells["gpu"],
        cells["software"],
        cells["region"],
    ]
    return ",".join(f'"{value}"' if value else "" for value in values) + "\n"


def read(offer: str, *rows: str, region: str = "eu-west-1", columns: str = COLUMNS) -> Offer:
    text = TOP.format(offer=offer) + columns + "".join(rows)
    return read_offer(iter(text.splitlines(keepends=True)), offer, region)


def test_the_first_tier_of_each_usage_type_is_taken() -> None:
    found = read(
        "AWSLambda",
        row(
            "B5V2RNHAWGVJBZD3",
            "EU-Request",
            "0.0000002000",
            description="AWS Lambda - Total Requests - EU (Ireland)",
        ),
        row("SGGKTWDV7PGMPPSJ", "EU-Lambda-GB-Second", "0.0000133334", "15000000000"),
        row("SGGKTWDV7PGMPPSJ", "EU-Lambda-GB-Second", "0.0000166667", description="… (Ireland)-Tier-1"),
        row("SGGKTWDV7PGMPPSJ", "EU-Lambda-GB-Second", "0.0000150000", "6000000000"),
        row("KXNSA7NBRHBHXXPS", "EU-Lambda-GB-Second-ARM", "0.0000133334"),
        row("83UZGV2B4WAZRJSR", "EU-Lambda-Storage-GB-Second", "0.0000000340"),
        row("BP8P7CBMNM86SRMW", "EU-Lambda-Provisioned-Concurrency", "0.0000046460"),
        row("GU2ZS9HVP6QTQ7KE", "Global-Request", "0.0000000000", region=""),
    )
    assert found.published == "2026-10-01"
    assert found.prices == {
        "lambda_request": 2e-7,
        "lambda_x86_gb_s": 1.66667e-5,
        "lambda_arm_gb_s": 1.33334e-5,
        "lambda_storage_gb_s": 3.4e-8,
    }
    table = load().of("eu-west-1")
    assert table is not None
    assert {key: table.usd(key) for key in found.prices} == found.prices, "the packaged table agrees"


def test_a_free_first_tier_is_not_a_price() -> None:
    found = read(
        "AmazonDynamoDB",
        row("F3E2EDSYC6ZNW7XP", "TimedStorage-ByteHrs", "0.0000000000", "0", end="25", region="us-east-1"),
        row("F3E2EDSYC6ZNW7XP", "TimedStorage-ByteHrs", "0.2500000000", "25", region="us-east-1"),
        row("FGXVD96DKJMUASY3", "WriteRequestUnits", "0.0000006250", region="us-east-1"),
        region="us-east-1",
    )
    assert found.prices == {"dynamodb_gb_month": 0.25, "dynamodb_write": 6.25e-7}


def test_other_regions_zones_terms_and_operations_do_not_count() -> None:
    found = read(
        "AmazonCloudWatch",
        row("A", "EU-DataProcessing-Bytes", "0.5700000000", operation="PutLogEvents"),
        row("B", "EU-DataProcessing-Bytes", "0.2850000000", operation="PutLogEventsIA"),
        row("C", "EU-CW:AlarmMonitorUsage", "0.1000000000"),
        row("D", "EU-CW:HighResAlarmMonitorUsage", "0.3000000000"),
        row("E", "EU-CW:MetricMonitorUsage", "0.3000000000"),
        row("F", "USE1-CW:MetricMonitorUsage", "0.9000000000", region="us-east-1"),
        row("G", "EU-CW:MetricMonitorUsage", "0.9000000000", kind="AWS Local Zone"),
        row("H", "EU-CW:MetricMonitorUsage", "0.9000000000", term="Reserved"),
        row("I", "EU-CW:MetricMonitorUsage", "0.9000000000", currency="CNY"),
    )
    assert found.prices == {"logs_gb": 0.57, "alarm_month": 0.1, "metric_month": 0.3}


def test_two_prices_for_the_same_thing_are_none() -> None:
    found = read(
        "AmazonS3",
        row("A", "EU-Requests-Tier1", "0.0000050000"),
        row("B", "EU-Requests-Tier1", "0.0000060000"),
        row("C", "EU-Requests-Tier2", "0.0000004000"),
        row("D", "EU-Requests-Tier2", "0.0000004000"),
    )
    assert found.prices == {"s3_get": 4e-7}
    assert found.unclear == {"s3_put"}


def test_of_ec2_only_plain_linux_instances_on_demand_count() -> None:
    found = read(
        "AmazonEC2",
        ec2("A", "BoxUsage:m6i.xlarge", "0.1920000000"),
        ec2("B", "BoxUsage:m6i.xlarge", "0.3760000000", os="Windows", operation="RunInstances:0002"),
        ec2("C", "BoxUsage:m6i.xlarge", "0.6720000000", software="SQL Std", operation="RunInstances:0004"),
        ec2("D", "UnusedBox:m6i.xlarge", "0.1920000000", capacity="UnusedCapacityReservation"),
        ec2("E", "DedicatedUsage:m6i.xlarge", "0.2030000000", tenancy="Dedicated"),
        ec2("F", "BoxUsage:m6i.xlarge", "0.1190000000", term="Reserved"),
        ec2("G", "BoxUsage:g4dn.xlarge", "0.5260000000", type="g4dn.xlarge", gpu="1"),
        ec2("H", "BoxUsage:u-6tb1.112xlarge", "54.6000000000", vcpu="448", memory="6,144 GiB"),
        ec2("I", "EBS:VolumeUsage.gp3", "0.0800000000", vcpu="", memory="NA", unit="GB-Mo", operation=""),
        ec2("J", "ATL1-BoxUsage:m6i.xlarge", "0.2400000000", region="us-east-1-atl-2", kind="AWS Local Zone"),
        region="us-east-1",
        columns=EC2_COLUMNS,
    )
    assert found.prices == {
        "ec2:m6i.xlarge": 0.192,
        "ec2:g4dn.xlarge": 0.526,
        "ec2:u-6tb1.112xlarge": 54.6,
        "ebs_gb_month": 0.08,
    }
    assert found.instances["m6i.xlarge"] == Instance(4, 16.0)
    assert found.instances["g4dn.xlarge"] == Instance(4, 16.0, 1)
    assert found.instances["u-6tb1.112xlarge"] == Instance(448, 6144.0)


def test_rows_of_2017_are_understood() -> None:
    plain = OF_2017.splitlines()[1].replace('"Reserved"', '"OnDemand"').replace('"Dedicated"', '"Shared"')
    plain = plain.replace('"RHEL"', '"Linux"').replace("RunInstances:0010", "RunInstances")
    found = read(
        "AmazonEC2",
        RESERVED_OF_2017,
        plain.replace("USE2-DedicatedUsage", "USE2-BoxUsage") + "\n",
        region="us-east-2",
        columns=OF_2017,
    )
    assert found.prices == {"ec2:m4.xlarge": 0.223}
    assert found.instances == {"m4.xlarge": Instance(4, 16.0)}


def test_a_large_file_is_read_line_by_line() -> None:
    read_lines = 0

    def lines() -> Iterator[str]:
        nonlocal read_lines
        yield from (TOP.format(offer="AmazonEC2") + EC2_COLUMNS).splitlines(keepends=True)
        for number in range(20_000):
            read_lines += 1
            yield (
                ec2(f"S{number}", "DedicatedUsage:m6i.xlarge", "0.2")
                if number % 10_000
                else ec2(f"S{number}", "BoxUsage:m6i.xlarge", "0.1920000000")
            )

    assert read_offer(lines(), "AmazonEC2", "us-east-1").prices == {"ec2:m6i.xlarge": 0.192}
    assert read_lines == 20_000


@pytest.mark.parametrize(
    ("offer", "text", "error"),
    [
        (
            "AmazonS3",
            TOP.format(offer="AmazonSNS") + COLUMNS,
            "the file is that of AmazonSNS, not of AmazonS3",
        ),
        (
            "AmazonS3",
            "<html><body>Service unavailable</body></html>",
            "the file of AmazonS3 has other columns",
        ),
        ("AmazonS3", "", "the file of AmazonS3 has other columns"),
        (
            "AmazonS3",
            TOP.format(offer="AmazonS3") + COLUMNS,
            "the file of AmazonS3 has no price for eu-west-1",
        ),
        (
            "AmazonS3",
            TOP.format(offer="AmazonS3") + COLUMNS + row("A", "EU-Requests-Tier1", "free"),
            "A has no number in the column priceperunit",
        ),
    ],
)
def test_another_file_is_an_error(offer: str, text: str, error: str) -> None:
    with pytest.raises(OfferError) as refused:
        read_offer(text.splitlines(keepends=True), offer, "eu-west-1")
    assert str(refused.value) == error


def test_the_address_is_that_of_the_bulk_api() -> None:
    assert url_of("AmazonEC2", "eu-west-1") == (
        "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/current/eu-west-1/index.csv"
    )


FARGATE = {
    "manifest": {"serviceId": "ecs"},
    "prices": [
        {
            "unit": unit,
            "price": {"USD": usd},
            "attributes": {"aws:region": region, "aws:label": "EU (Ireland)"},
        }
        for unit, usd, region in (
            ("vCPU-Hours", "0.01225536", "eu-west-1"),
            ("GB-Hours", "0.00134573", "eu-west-1"),
            ("ARM-vCPU-Hours", "0.00979124", "eu-west-1"),
            ("ARM-GB-Hours", "0.00107649", "eu-west-1"),
            ("vCPU-Hours", "0.01288561", "us-east-1"),
            ("Windows-vCPU-Hours", "0.1", "eu-west-1"),
        )
    ],
}
SPOT = {
    "vers": 0.01,
    "config": {
        "rate": "perhr",
        "valueColumns": ["linux", "mswin"],
        "regions": [
            {
                "region": region,
                "instanceTypes": [
                    {
                        "type": "generalCurrentGen",
                        "sizes": [
                            {
                                "size": size,
                                "valueColumns": [
                                    {"name": "linux", "prices": {"USD": usd}},
                                    {"name": "mswin", "prices": {"USD": "9.9"}},
                                ],
                            }
                            for size, usd in sizes
                        ],
                    }
                ],
            }
            for region, sizes in (
                ("us-east", [("m6i.xlarge", "0.0723"), ("m1.small", "N/A*")]),
                ("eu-ireland", [("m6i.xlarge", "0.1058")]),
                ("eu-central-1", [("m6i.xlarge", "0.0844")]),
            )
        ],
    },
}


def test_the_feeds_of_spot_capacity_are_read() -> None:
    assert read_fargate_spot(json.dumps(FARGATE), "eu-west-1") == {
        "fargate_spot_vcpu_hour": 0.01225536,
        "fargate_spot_gb_hour": 0.00134573,
        "fargate_arm_spot_vcpu_hour": 0.00979124,
        "fargate_arm_spot_gb_hour": 0.00107649,
    }
    wrapped = f"callback({json.dumps(SPOT)});\n"
    assert read_spot(wrapped, "us-east-1") == {"spot:m6i.xlarge": 0.0723}
    assert read_spot(wrapped, "eu-west-1") == {"spot:m6i.xlarge": 0.1058}
    assert read_spot(json.dumps(SPOT), "eu-central-1") == {"spot:m6i.xlarge": 0.0844}
    assert read_spot(wrapped, "sa-east-1") == {}


@pytest.mark.parametrize(
    "text", ["", "<html>", "[]", "{}", '{"prices": [1]}', '{"config": {"regions": [{}]}}']
)
def test_other_feeds_are_errors(text: str) -> None:
    with pytest.raises(OfferError, match="another form"):
        read_spot(text, "us-east-1")
    with pytest.raises(OfferError, match="another form"):
        read_fargate_spot(text, "us-east-1")
