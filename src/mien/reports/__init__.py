"""Plots and HTML reports of evaluations, comparisons, training runs and videos."""
