"""Sound source localization of whole files."""
