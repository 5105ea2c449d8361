"""`asgm doctor`: whether this machine and what is installed on it can do the work."""
