"""The latest `AgentSnapshot` of each agent, the `Fleet`s made of them, and what takes memory to know."""
