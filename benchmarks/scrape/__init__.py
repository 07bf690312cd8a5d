"""The exporter and Prometheus side by side on the same agents: what a scrape costs, and how old readings get."""
