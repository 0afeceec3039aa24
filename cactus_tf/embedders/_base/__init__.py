"""What embedders share: the scikit-learn interface, training, layers and saving.

Only modules of `cactus_tf.embedders` import it.
"""
