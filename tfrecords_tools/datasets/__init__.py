"""One file per data set: a builder that reads its raw form."""
