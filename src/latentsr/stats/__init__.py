"""Statistics on the tidy table: what it holds, what is said about it. Free of torch."""

from latentsr.stats.bootstrap import cluster_intervals
from latentsr.stats.summary import summarise
from latentsr.stats.table import COLUMNS, check_table, read_table, write_table

__all__ = ["COLUMNS", "check_table", "cluster_intervals", "read_table", "summarise", "write_table"]
