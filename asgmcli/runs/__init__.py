"""Many runs: what they need, which there are, and their tables."""
