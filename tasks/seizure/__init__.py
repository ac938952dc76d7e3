"""Epileptic seizures in EEG: clips, continuous recordings and single-channel segments."""
