"""Token masks, and mixing by them."""
