"""Statistics on the tidy table: its checks, summaries, comparisons and tests. Free of torch."""
