"""What embedders share: the scikit-learn interface, training, layers and saving. For members of this room only."""
