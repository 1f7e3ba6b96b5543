"""What a model file says of itself: read and written by everything here, numpy at most."""
