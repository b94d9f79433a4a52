"""Postgres: one pool, numbered migrations, one repository for each subject."""
