"""One module for each verb of the command line; gin is used here alone."""
