"""From a body that the spec does not allow to a patch of the spec.

Read contradictions.py (where the body differs, and which schema says so), redaction.py (what of it may be shown),
widening.py (the edits), drift.py (the ledger's entries), then proposals.py, which joins them to a patch.
"""
