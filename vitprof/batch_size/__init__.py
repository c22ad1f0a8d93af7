"""The largest batch that fits: predicted without a device, or found by trial on one."""
