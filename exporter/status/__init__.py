"""`fleet-exporter status`: what a running exporter knows, for a person at a terminal. It meets it over HTTP only."""
