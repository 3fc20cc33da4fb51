"""Packing any data set: the contract of raw data sets, builder, vocabulary, staging, report, Beam."""
