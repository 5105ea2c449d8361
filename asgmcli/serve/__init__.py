"""A local page, and an endpoint for programs, that ask a trained network about clips."""
