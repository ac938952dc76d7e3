"""N-MNIST: handwritten digits seen by an event camera that makes three saccades."""
