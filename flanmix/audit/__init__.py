"""What is wrong or worth knowing in tasks, records and mixtures."""
