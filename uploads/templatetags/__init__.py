"""What the templates of the upload pages load."""
