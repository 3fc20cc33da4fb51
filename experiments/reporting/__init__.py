"""Tables, claims and plots, and their rendering as text, Markdown, HTML and CSV."""
