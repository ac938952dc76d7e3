"""Spiking neural network papers, reproduced: one config-driven framework around one LIF op."""
