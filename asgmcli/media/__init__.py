"""Decoding: from a media file to frames and sound, on one clock."""
