"""Labels as linear functionals of the local energy: rows against inducing environments and prior covariances."""
