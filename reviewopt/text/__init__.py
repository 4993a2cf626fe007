"""One pass over the bytes of a review: normal form, keys, n-gram hashes. Everything below reads the same buffer."""
