"""Values and facts: what the provider says, as plain values. No I/O, no clock."""
