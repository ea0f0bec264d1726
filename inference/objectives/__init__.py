"""What training maximises, and how its gradient is estimated."""
