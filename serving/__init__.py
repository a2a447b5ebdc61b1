"""How the server meets the network: gunicorn's worker, its connections and their bounds. gunicorn.conf.py only sets.

Modules here import nothing else of the project; the app hands over what they need (`services.connections`).
"""
