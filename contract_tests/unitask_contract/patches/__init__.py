"""From a body that the spec does not allow to a patch of the spec.

contradictions.py finds the differences, redaction.py makes evidence of the body, widening.py changes the components,
and proposals.py makes a patch of the changes.
"""
