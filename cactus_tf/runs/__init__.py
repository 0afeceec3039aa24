"""The files of a run: what it writes, and how they are read back.

Every module may be imported from above; learners and other families do not read runs.
"""
