"""From a fleet's past to the demand that is coming. Pure: `now` is an argument. docs/forecast.md explains it."""
