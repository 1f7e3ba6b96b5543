"""Pictures computed in tiles: what a score depends on, how a picture is cut, how its scores are put together."""
