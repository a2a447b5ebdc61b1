"""What to do, and for how long: policy, hourly lock, and the store of what was said (policy.md)."""
