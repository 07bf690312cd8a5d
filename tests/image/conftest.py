"""The image that the Dockerfile makes."""

from tests.fakes.image_fixtures import image

__all__ = ["image"]
