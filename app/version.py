"""The version of this server. It stands here alone: setup.cfg reads it, and CHANGELOG.md begins with it."""

VERSION = "0.1.0"
