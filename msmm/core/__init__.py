"""Files, checksums, images, workers, text, the command line: nothing that knows of learning."""
