"""Archives of pictures and films, labelled by several workers: what is made once, whole, and written down."""
