"""Published results, done again: each module repeats one, and says how near it comes."""
