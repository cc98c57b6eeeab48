"""From the text of an FDL file to plain data, with the position of every key and value.

source.py     reads the file
composer.py   YAML's events to a document
scalars.py    the types of values without quotes
syntax.py     YAML's syntax errors in plain words
document.py   the document: data and positions
schema.py     checks the data against `fdl.schema.json`
validator.py  runs jsonschema and sorts its findings
explain.py    what the validator finds, in plain words
findings.py   the list in which all checks note what they find
"""
