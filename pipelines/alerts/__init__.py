"""Alerts: what a build says that a reader would want to know, told once, by e-mail or webhook."""
