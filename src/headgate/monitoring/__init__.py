"""For Prometheus: the metrics of what Postgres has, and the board and alert rules for them."""
