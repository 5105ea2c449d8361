"""Many runs: their requirements, their scheduling, and their tables."""
