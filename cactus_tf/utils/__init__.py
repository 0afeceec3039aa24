"""Small tools without knowledge of few-shot learning: files, seeds, progress, threads, checkpoints."""
