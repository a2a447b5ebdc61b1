"""The dashboard: the page that `make dashboard` builds out of `dashboard/`, and the files that it loads."""
