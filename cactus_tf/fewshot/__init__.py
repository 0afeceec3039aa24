"""The heart: episodes, losses, the outer loop and evaluation. Imports no family."""
