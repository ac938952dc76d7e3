"""What is measured of a run: classification, firing activity, synaptic operations."""
