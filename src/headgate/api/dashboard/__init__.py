"""The dashboard: pages rendered here from what Postgres has; scripts keep them up to date."""
