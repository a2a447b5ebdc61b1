"""Bars known at a moment, wherever they come from: Polygon, recorded files, or the demo market."""
