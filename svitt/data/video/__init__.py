"""Reading frames from video files."""
