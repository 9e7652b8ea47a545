"""Bayesian linear regression in square-root form: rows in, weights out. Knows no atom and no kernel."""
