"""Statistics on the tidy table: what it holds, what is said about it. Free of torch."""
