"""Makes the bundle, the generated client and the task catalogue out of the hand-written spec."""
