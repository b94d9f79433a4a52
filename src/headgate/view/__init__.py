"""Pure: what people are shown of breakers, tenants and pools; for command line, API, metrics."""
