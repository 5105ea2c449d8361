"""Token masks and the mixing they steer."""
