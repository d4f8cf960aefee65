"""Applications of several services with real servers, as Compose and other clients run them."""
