"""AWS Step Functions on the embedded cloud.

distributed_maps.py  distributed maps with batches
"""
