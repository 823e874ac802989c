"""HDF5: a data set a column."""
