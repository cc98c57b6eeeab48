"""Assembled images, which AWS Lambda and AWS Batch run: the user's image with the runner in it. They are
assembled at deployment.

    images.py           the images of a workflow, with the repository and the assemblers that they need
    repository.py       the ECR repository of a stack
    assembler.py        the Lambda function that assembles images
    assembler_asset.py  its code
    assembled_image.py  the image of one function
    image_code.py       an image as the code of a Lambda function
    image_file.py       the archive of an image that is a file of the user's
"""
