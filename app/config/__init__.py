"""What is decided before the server starts.

settings        every environment variable, read once
setting_types   how the texts of variables are read
setting_errors  what is wrong with a variable, in one sentence
folders         whether the folders that settings name can be used
api_keys        the API keys in the settings
api_versions    the versions of the API, from their release to their end
"""
