"""The past of every fleet: recorded or fetched, kept, and what the forecast makes of it."""
