"""Reading image files: listing, archives, decoding, preparing; shared by the data sets."""
