"""The core of the method: episodes, losses, the outer loop and evaluation; imports no family.

Every module may be imported from above: `episodes`, `losses`, `training`, `evaluation`.
"""
