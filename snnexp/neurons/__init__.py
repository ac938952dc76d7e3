"""Spiking layers: parameters, initialisation, and the scan each calls."""
