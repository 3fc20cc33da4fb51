"""People's own photographs: finding them, reading their keywords, annotating them, writing the results."""
