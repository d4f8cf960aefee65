"""Images: names, layers, and how they come, show, and go."""

from compatd.engine.images.model import Image, Layer
from compatd.engine.images.service import Images

__all__ = ["Image", "Images", "Layer"]
