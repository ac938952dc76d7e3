"""Pictures of clothes: Fashion-MNIST, the drop-in relative of MNIST."""
