"""Applies what a run learned: FewShotClassifier, prediction on folders of pictures, export to other formats.

The package's front page imports `classifier`; the commands import `prediction`, `prediction_output` and `exporting`.
"""
