"""What one does with estimates and fitted pairs: compare, bracket, explain a gap, check posteriors, predict."""
