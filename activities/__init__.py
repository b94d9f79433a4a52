"""Side effects of the governance workflows: Postgres, the Notifier, other workflows, the gates."""
