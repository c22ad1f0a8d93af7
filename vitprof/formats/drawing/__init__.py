"""Charts and figures of a sweep: characters for a terminal, pictures for a paper."""
