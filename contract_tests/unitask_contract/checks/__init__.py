"""The promises of a provider, a named check each, over plain HTTP.

A check is a function `check_<id>` that raises when the provider breaks the promise in its docstring. What needs another
account, the provider's clock or its webhooks is held in-process alone, and left out elsewhere; so is cancelling many,
which would reach tasks that are not ours.
"""
