"""Decisions: flows and what they are made of. No I/O, no clock, no randomness; imports no HTTP library."""
