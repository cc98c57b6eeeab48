"""Container images: registries, archives, unpacking, assembly, and running containers.

    image/           the parts of an image: configuration, manifests, sources of blobs
    registry/        names, logins, the registry's API
    layers/          compressed archives, turned into files
    store/           unpacked images
    engines/         processes in an unpacked image, or in the image that contains the runner
    building/        images from files, without Docker
    assembly/        the user's image with the runner in it, from registry to registry
    elf.py           headers of program files
    paths.py         paths as the container sees them
    removal.py       removes folders with untrusted content
    http_client.py   requests of registries and storage servers
    patience.py      attempts and pauses of requests
    bounded_json.py  parses untrusted JSON
    asking.py        the process that requests an image, as messages name it
    aws.py           clients of AWS services
    aws_secrets.py   values from AWS Secrets Manager
    errors.py        errors for people

It serves the runner, the assembler and the embedded cloud, and does not depend on FDL, events or the CDK.
"""
