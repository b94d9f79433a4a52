"""Contracts that cross a boundary: a file, a message to a workflow, an activity, a row."""
