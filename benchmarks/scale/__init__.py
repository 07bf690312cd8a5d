"""What grows with the number of fleets, agents and pod events, and how fast."""
