"""Keywords for people's own photographs: finding them, what they say of themselves, and what is written."""
