"""From raw records to global batches."""
