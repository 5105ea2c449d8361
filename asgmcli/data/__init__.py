"""From raw data sets to manifests, and from manifests to batches."""
