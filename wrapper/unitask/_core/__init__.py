"""The core decides and never acts: no I/O, no clock, no random of its own.

Read messages.py (what core and shell say to each other), lifecycle.py (what a status word means), envelope.py (what an
answer means), then flows.py (each call, written once).
"""
