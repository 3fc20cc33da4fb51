"""One file per raw data set, and the registry of all of them."""
