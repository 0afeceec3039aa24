"""What embedders share: the estimator interface, fitting and saving."""
