"""Where labelled frames go."""
