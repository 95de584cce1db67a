"""Fixtures, fakes and generated inputs shared by the tests."""
