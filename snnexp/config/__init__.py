"""Composition, schema and validation of the run's configuration."""
