"""Who is asking, what they may see, and the record of what they saw."""
