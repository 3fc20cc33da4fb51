"""A tagged photo collection: its keywords, its context, its events, its labels."""
