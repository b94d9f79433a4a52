"""Alerts: when people should know, decided inside the workflows."""
