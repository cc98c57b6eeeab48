"""HTTP endpoints.

http_endpoint.py  a REST API in front of a function
"""
