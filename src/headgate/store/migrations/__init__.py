"""The numbered SQL files that make the schema; once released, a file is never changed."""
