"""The core: values and pure functions. No asyncio, no I/O, no clock, no logging; `now` is always an argument."""
