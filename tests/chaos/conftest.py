"""One real control plane for the chaos tests that want one."""

from tests.fakes.control_plane_fixtures import (
    admin,
    control_plane,
    control_plane_flags,
    control_plane_folder,
    control_plane_of_folder,
    namespace,
)

__all__ = [
    "admin",
    "control_plane",
    "control_plane_flags",
    "control_plane_folder",
    "control_plane_of_folder",
    "namespace",
]
