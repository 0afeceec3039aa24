"""Files of images to prepared arrays: listing, archives, decoding, ordering. Only the data sets import from here."""
