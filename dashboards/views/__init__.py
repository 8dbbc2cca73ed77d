"""One page per file: filters, query, component, how it is counted."""
