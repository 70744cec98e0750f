"""Statistics on the tidy table: what it holds, what is said about it. Free of torch."""

from latentsr.stats.bootstrap import cluster_intervals
from latentsr.stats.comparison import COMPARISON_COLUMNS, compare_methods
from latentsr.stats.multiplicity import holm
from latentsr.stats.names import short_hash
from latentsr.stats.paired import cohen_d, cohen_dz, cohen_h, rank_biserial, wilcoxon
from latentsr.stats.regression import Bands, Correlation, Line, fisher_interval, fit_line, pearson
from latentsr.stats.summary import SUMMARY_COLUMNS, summarise
from latentsr.stats.table import COLUMNS, check_table, read_table, write_table

__all__ = [
    "COLUMNS",
    "COMPARISON_COLUMNS",
    "SUMMARY_COLUMNS",
    "Bands",
    "Correlation",
    "Line",
    "check_table",
    "cluster_intervals",
    "cohen_d",
    "cohen_dz",
    "cohen_h",
    "compare_methods",
    "fisher_interval",
    "fit_line",
    "holm",
    "pearson",
    "rank_biserial",
    "read_table",
    "short_hash",
    "summarise",
    "wilcoxon",
    "write_table",
]
