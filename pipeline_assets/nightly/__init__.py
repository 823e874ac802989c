"""Which days should exist, and the runs that compute them."""
