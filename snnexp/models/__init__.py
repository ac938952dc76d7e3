"""One architecture a file; each takes a `TaskSpec` and a neuron factory."""
