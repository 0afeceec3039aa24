"""Small tools without knowledge of few-shot learning: files, seeds, progress, threads, checkpoints.

Every module may be imported from anywhere in the package.
"""
