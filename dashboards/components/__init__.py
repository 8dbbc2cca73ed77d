"""Draw a given frame; these modules know neither the database nor the pages."""
