"""HTML pages: the report and the mixture card."""
