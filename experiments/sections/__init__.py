"""The sections of a report: what each table and figure measures."""
