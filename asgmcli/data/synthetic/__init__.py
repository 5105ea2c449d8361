"""Generated clips: moving shapes on textured backgrounds, one of which sounds."""
