"""What runs beside the server, or in front of it."""
