"""The embedded Temporal and Postgres of ``headgate dev``, and what guards their processes."""
