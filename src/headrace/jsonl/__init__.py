"""Batch files: requests come in by lines of JSON, outcomes go out by lines of JSON."""
