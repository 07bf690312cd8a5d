"""What Kubernetes knows of an agent's health: memory and CPU in use, and the tasks that failed by its log."""
