"""One loss a file, named by the paper it comes from."""
