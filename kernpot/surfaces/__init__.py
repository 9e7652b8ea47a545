"""Sums of atomic energies as potentials, and draws of either backend. Knows no error bar."""
