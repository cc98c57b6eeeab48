"""Registries of the OCI distribution specification: names of images, logins, and the API.

references.py    names of images: registry, repository, tag, digest
mirrors.py       mirrors that are tried before a registry, `REGISTRY=BASE,…`
credentials.py   logins in AWS Secrets Manager, tokens of Amazon ECR
token_server.py  logins at token servers, and which of them receive the password
client.py        the registry's API
transport.py     HTTP with retries and redirects
resuming.py      downloads that survive broken connections
ranges.py        parts of files and of objects in S3
"""
