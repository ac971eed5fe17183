"""What is known of a run as plain numbers, and the files that hold it. Loads neither torch nor matplotlib."""
