"""From the text of an FDL file to plain data, with the position of every key and value.

source.py         reads the file
composer.py       composes a document from YAML's events
scalars.py        the types of values without quotes
syntax.py         explains YAML's syntax errors
lookalikes.py     characters that look like YAML's punctuation
other_formats.py  recognizes files of other programs
document.py       the document: data and positions
schema.py         checks the data against `fdl.schema.json`
validator.py      runs jsonschema and removes redundant errors
explain.py        explains the validator's errors
similar_files.py  the file that a wrong path probably means
findings.py       collects the diagnostics of all checks
"""
