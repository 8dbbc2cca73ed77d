"""Receivers: what other systems send over the network, kept encrypted until the harvest reads it."""
