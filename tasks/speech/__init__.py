"""Spoken words: Google Speech Commands and a synthetic sample in the same layout."""
