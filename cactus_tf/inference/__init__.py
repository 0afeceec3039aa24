"""Applies what a run learned: FewShotClassifier, prediction on folders of pictures, export to other formats."""
