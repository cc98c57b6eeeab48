"""The report: one document with the numbers of runs, and the page that shows it.

document.py         the document, see report.schema.json
chunks.py           individual runs in it, compressed
packing.py          compression of its parts
launched.py         the runs of one launch
workflow.py         the workflow as nodes and arrows with counts
rows.py             runs as rows of a CSV file
report.schema.json  JSON schema of the document
page.py             the page: one HTML file with its style, scripts and document
page/               its parts, as they are
"""
