"""What a release consists of, and what proves that it is whole: pinned packages, licences, the list of all that ships."""
