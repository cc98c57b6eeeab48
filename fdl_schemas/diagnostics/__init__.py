"""The problems of an FDL file: code, place, message, advice.

diagnostic.py  one diagnostic, and how it is displayed
codes.py       the explanation of each code (`codes.md`)
sarif.py       diagnostics as SARIF, for code hosts
"""
