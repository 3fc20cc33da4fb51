"""A page on which a person reviews the keywords of a folder of photographs: decisions, proposals, server."""
