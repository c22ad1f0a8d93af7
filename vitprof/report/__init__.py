"""Reports of the commands as plain data, one file each."""
