"""Distributed training: several processes that train one run."""
