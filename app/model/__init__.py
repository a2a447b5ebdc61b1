"""What may come of it: 29 features to probabilities, and how far those can be trusted (v6.md)."""
