"""The command `plan`: what each way to scale a fleet would have brought, from the fleet's own past."""
