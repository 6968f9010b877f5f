"""The promises of a provider: a named check for each, over plain HTTP.

A check is a function `check_<id>` that raises when the provider breaks the promise in its docstring. Checks that need
another account, the clock of the provider or its webhooks, or which reach tasks of others, run only in-process.
"""
