"""Figures of reports: numbers in, drawings out. matplotlib's only home, free of torch."""
