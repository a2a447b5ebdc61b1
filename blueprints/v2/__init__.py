"""Version 2 of the API: one signal object, typed answers, and a document made from both."""
