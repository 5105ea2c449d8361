"""One module a command; each holds a click command named `command`. Heavy imports stay inside functions."""
