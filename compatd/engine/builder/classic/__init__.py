"""The classic door: `POST /build` with its own text, its own errors, and what it refuses.

Source: moby builder/dockerfile and api/server/backend/build, a real engine's answers (texts, order).
"""
