"""Where the agents are: every source turns its world into `Target`s and hands them to the store."""
