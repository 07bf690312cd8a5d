"""The image that the Dockerfile makes."""

from tests.fakes.built_image import image

__all__ = ["image"]
