"""Functions of the commands, one each: they take a request and return a report."""
