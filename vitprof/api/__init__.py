"""One function a command: from a request to a report."""
