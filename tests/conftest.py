"""Settings that every test shares."""

from hypothesis import settings

settings.register_profile("cube", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("cube")
