"""Pure functions that run neurons over whole sequences; README.md has the derivations."""
