"""The masks of one clip, drawn (Figures 2 and 3)."""
