"""Training: `fit`, the loop, batches of rows, checkpoints, history, recorded and fused steps."""
