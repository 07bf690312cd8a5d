"""The HPA and a fleet of agents in virtual time: for the demo, the plan, the benchmarks and the tests.

Pure: no asyncio, no I/O, no clock. The commands that need it import it when they run.
"""
