"""What readers see: shows stored numbers, computes none."""
