"""The REST API and the dashboard: reads from Postgres, writes by updates to workflows."""
