"""Container images: where they are kept, what they hold, how they are made ready, and how they run.

    image/           what an image is: configuration, manifests, places that hold blobs
    registry/        names, logins, the registry's API
    layers/          compressed archives, turned into files
    store/           unpacked images
    engines/         processes in an unpacked image, or in the image that they are part of
    building/        images from files, without Docker
    assembly/        the user's image with the runner in it, from registry to registry
    elf.py           headers of program files
    paths.py         paths as the container sees them
    removal.py       folders that strangers have filled
    http_client.py   requests of registries and storage servers
    patience.py      attempts and pauses of requests
    bounded_json.py  JSON that strangers have written
    asking.py        who asks for an image: what messages call it
    aws.py           clients of AWS services
    aws_secrets.py   values from AWS Secrets Manager
    errors.py        errors that a person is meant to read

It serves the runner, the assembler and the embedded cloud, and knows nothing about FDL, events or the CDK.
"""
