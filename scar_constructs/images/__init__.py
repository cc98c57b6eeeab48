"""Assembled images, which AWS Lambda and AWS Batch run: the user's image with the runner in it. They are
assembled when a stack is deployed, without Docker.

    images.py             what the functions of a stack share
    repository.py         the stack's repository in Amazon ECR
    assembler.py          the Lambda function behind the custom resource, one for each architecture
    assembler_asset.py    its code, with the libraries that go into images
    assembled_image.py    the custom resource: one assembled image for each function of the workflow
    image_code.py         an assembled image as a function's code
    assembler_handler/    the code of that Lambda function; the work is done by `containers.assembly`
"""
