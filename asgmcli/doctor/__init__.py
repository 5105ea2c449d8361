"""`asgm doctor`: check that this machine and its packages can do the work."""
