"""Using what a run learned: the classifier, prediction on folders, export."""
