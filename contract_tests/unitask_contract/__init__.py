"""The contract harness of unitask: scenarios, provider checks and what they prove, for any program and any provider."""
