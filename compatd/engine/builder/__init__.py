"""Building images: the Dockerfile language, plans of builds, and what carries them out."""
