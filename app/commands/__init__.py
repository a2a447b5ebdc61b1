"""The commands of the command line, but those that start the server. `app/cli.py` names them and imports one when it is run."""
