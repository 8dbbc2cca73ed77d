"""A synthetic regional imaging network as files: what eight parties would send, and the truth."""

from pipelines.synthetic.generation import SyntheticSummary, check_size, generate

__all__ = ["SyntheticSummary", "check_size", "generate"]
