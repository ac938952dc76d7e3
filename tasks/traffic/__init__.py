"""Encrypted traffic: captures to flows, flows to windows, windows to histograms of 14 classes."""
