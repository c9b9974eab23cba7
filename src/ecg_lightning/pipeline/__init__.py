"""The verbs: build, train, evaluate, explain, inspect; and the jobs of a sweep."""
