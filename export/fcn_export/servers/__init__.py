"""What servers of others need to serve our files."""
