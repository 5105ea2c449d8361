"""From raw data sets on disk to manifests."""
