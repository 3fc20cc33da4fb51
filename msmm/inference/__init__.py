"""A finished model on disk, and what runs it: engines and exports."""
