"""The board pack of a build: one model of its parts, written as an accessible PDF and as slides."""
