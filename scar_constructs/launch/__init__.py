"""Distributed launches.

distributed_launch.py  a state machine that lists a function's input folders and sends their events
states.py              its states, in the Amazon States Language
"""
