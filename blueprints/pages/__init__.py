"""Pages for people who write clients, and the documents that they are made from. No page loads anything from another
host."""
