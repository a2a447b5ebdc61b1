"""Several regions behind a balancer."""
