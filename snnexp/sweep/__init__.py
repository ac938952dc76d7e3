"""Sweeps: many runs from one command, resumable, with mean and spread over seeds."""
