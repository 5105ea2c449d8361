"""Recipes: what a YAML file may say, one module a task, and how it is read."""
