"""Pickles read as data, by an interpreter of our own that knows no code and spends no more than their size allows."""
