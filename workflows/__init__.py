"""The durable shell: long-running workflows around the pure cores."""
