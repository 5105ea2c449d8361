"""Generated clips: their scenes, sounds and files."""
