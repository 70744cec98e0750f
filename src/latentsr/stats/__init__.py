"""Statistics on the tidy table: what it holds, what is said about it. Free of torch."""

from latentsr.stats.agreement import AGREEMENT_COLUMNS, Agreement, bland_altman, compare_agreement
from latentsr.stats.bootstrap import cluster_intervals
from latentsr.stats.comparison import COMPARISON_COLUMNS, compare_methods
from latentsr.stats.paired import cohen_d, cohen_dz, cohen_h, dz_interval, rank_biserial, rate_effects, wilcoxon
from latentsr.stats.regression import Bands, Correlation, Line, fisher_interval, fit_line, pearson
from latentsr.stats.significance import (
    EQUIVALENCE_COLUMNS,
    FEWEST,
    LEVEL,
    Equivalence,
    MeanTest,
    compare_equivalence,
    detectable,
    holm,
    judge,
    mean_test,
    tost,
)
from latentsr.stats.summary import SUMMARY_COLUMNS, summarise
from latentsr.stats.table import COLUMNS, check_table, read_table, short_hash, write_table

__all__ = [
    "AGREEMENT_COLUMNS",
    "COLUMNS",
    "COMPARISON_COLUMNS",
    "EQUIVALENCE_COLUMNS",
    "FEWEST",
    "LEVEL",
    "SUMMARY_COLUMNS",
    "Agreement",
    "Bands",
    "Correlation",
    "Equivalence",
    "Line",
    "MeanTest",
    "bland_altman",
    "check_table",
    "cluster_intervals",
    "cohen_d",
    "cohen_dz",
    "cohen_h",
    "compare_agreement",
    "compare_equivalence",
    "compare_methods",
    "detectable",
    "dz_interval",
    "fisher_interval",
    "fit_line",
    "holm",
    "judge",
    "mean_test",
    "pearson",
    "rank_biserial",
    "rate_effects",
    "read_table",
    "short_hash",
    "summarise",
    "tost",
    "wilcoxon",
    "write_table",
]
