"""The hot path of the descriptors, compiled by numba; the same numbers as the plain torch of the room."""
