"""Registries of the OCI distribution specification: names of images, logins, and the API.

references    names of images: registry, repository, tag, digest
mirrors       where to ask for an image first, `REGISTRY=BASE,…`
credentials   who asks: logins in AWS Secrets Manager, Amazon ECR's tokens
token_server  logins of registries that name a token server, and which of them get the password
client        the registry's API, over `transport` (retries, redirects) and `connections` (a pool)
ranges        parts of objects in S3, read as a stream
manifests     indexes, manifests and configurations: understood and checked
"""
