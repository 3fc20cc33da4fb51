"""One door a table or figure of the paper."""
