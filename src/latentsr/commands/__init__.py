"""The sub-commands, a file each: options in, one call of the job, what is said about it."""
