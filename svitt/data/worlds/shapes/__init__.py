"""The world of moving shapes: every dial is ours."""
