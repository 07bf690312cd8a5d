"""The latest `AgentSnapshot` of each agent, the `Fleet`s built from them, and what needs history."""
