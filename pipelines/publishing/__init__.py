"""What readers may open: one versioned file per audience and one manifest, switched atomically."""
