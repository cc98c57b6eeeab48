"""The running workflow, watched from outside as anyone with an AWS account would watch it.

workflow.py asks AWS how far it is; live_view.py shows that to a person; figures.py reads from the logs how
long things took.
"""
