"""What becomes of a build: images, archives, folders, pushes, cache; and what comes in from elsewhere."""
