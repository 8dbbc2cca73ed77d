"""What the warehouse hands back to trusts as files: national submissions."""
