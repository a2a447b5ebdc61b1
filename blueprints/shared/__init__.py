"""What the versions of the API share: values as they are sent, how fresh an answer is, sentences. It knows no version."""
