"""Networks, and the import of checkpoints made by others."""
