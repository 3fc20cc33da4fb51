"""One command per table or figure of the paper, and experiments beyond it."""
