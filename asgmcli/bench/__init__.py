"""What is timed, apart from the tests."""
