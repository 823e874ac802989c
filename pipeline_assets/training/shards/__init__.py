"""Training rows as shards on a local disk, and the data set that reads them."""
