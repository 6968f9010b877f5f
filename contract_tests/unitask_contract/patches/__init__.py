"""From a body that the spec does not allow to a patch of the spec: contradictions, redaction, widening, proposals."""
