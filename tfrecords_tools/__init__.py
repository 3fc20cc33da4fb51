"""Raw data sets to TFRecords."""
