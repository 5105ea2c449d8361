"""Where the sound of a whole file comes from."""
