"""What is decided before the server starts.

settings      every environment variable, read once
folders       whether the folders that settings name can be used
api_keys      the API keys in the settings
api_versions  the versions of the API, from their release to their end
"""
